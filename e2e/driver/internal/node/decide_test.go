package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// with is a staged directory, with what a case has beside it.
func with(change ...func(*facts)) facts {
	f := facts{id: "v", kind: data.Directories, path: "/target", staged: true}
	for _, c := range change {
		c(&f)
	}
	return f
}

// mountedAs: at the path is this volume, mounted with options.
func mountedAs(options ...string) func(*facts) {
	return func(f *facts) {
		f.at, f.ours = &mounts.Mount{Path: f.path, Root: "/volumes/v", Options: options}, true
		f.locked = f.at.Readonly()
	}
}

func foreign(f *facts)   { f.at = &mounts.Mount{Path: f.path, Root: "/volumes/another"} }
func elsewhere(f *facts) { f.others = []string{"/elsewhere"} }
func unstaged(f *facts)  { f.staged = false }
func missing(f *facts)   { f.kind = data.Nothing }
func aFile(f *facts)     { f.kind = data.SparseFiles }

// device: at the path is a device over this volume's file.
func device(readonly bool) func(*facts) {
	return func(f *facts) {
		f.kind, f.locked = data.SparseFiles, readonly
		f.at, f.ours = &mounts.Mount{Path: f.path, Root: "/loop0", Options: []string{"rw"}}, true
	}
}

// answer is what became of a decision, as one value.
func answer(already bool, no *state.Refusal) any {
	if no != nil {
		return no.Reason
	}
	return already
}

func TestPublishing(t *testing.T) {
	for name, row := range map[string]struct {
		facts facts
		want  Publication
		is    any // false: publish; true: it is already; otherwise a refusal
	}{
		"a staged volume is published":                           {with(), Publication{}, false},
		"one that is not staged is not":                          {with(unstaged), Publication{}, state.InUse},
		"one that is there the same way is left":                 {with(mountedAs("rw", "relatime")), Publication{}, true},
		"one that is there and not staged any more is left":      {with(mountedAs("rw"), unstaged), Publication{}, true},
		"read-only where it can be written is another way":       {with(mountedAs("rw")), Publication{Readonly: true}, state.Incompatible},
		"writable where it is read-only is another way":          {with(mountedAs("ro")), Publication{}, state.Incompatible},
		"read-only by option is read-only":                       {with(mountedAs("ro")), Publication{Options: []string{"ro"}}, true},
		"an option more is another way":                          {with(mountedAs("rw", "nosuid")), Publication{Options: []string{"nosuid", "noexec"}}, state.Incompatible},
		"an option that the file system gives anyway is none":    {with(mountedAs("rw", "nosuid", "relatime")), Publication{}, true},
		"an option that restricts nothing is always there":       {with(mountedAs("rw")), Publication{Options: []string{"rw", "exec"}}, true},
		"a path where something else is mounted is left alone":   {with(foreign), Publication{}, state.InUse},
		"a second path is fine":                                  {with(elsewhere), Publication{}, false},
		"a second path for one that is to have a single is not":  {with(elsewhere), Publication{Single: true}, state.InUse},
		"the first path of two is still there":                   {with(elsewhere, mountedAs("rw")), Publication{Single: true}, true},
		"no volume":                                              {with(missing), Publication{}, state.NotFound},
		"a directory is no device":                               {with(), Publication{Block: true}, state.Unsupported},
		"a device is no directory":                               {with(aFile), Publication{}, state.Unsupported},
		"a device is published":                                  {with(aFile), Publication{Block: true}, false},
		"a device that is there is left":                         {with(device(false)), Publication{Block: true}, true},
		"a read-only device where it can be written is another":  {with(device(false)), Publication{Block: true, Readonly: true}, state.Incompatible},
		"a read-only device is read-only, whatever its mount is": {with(device(true)), Publication{Block: true, Readonly: true}, true},
	} {
		if diff := cmp.Diff(row.is, answer(decidePublish(row.facts, row.want))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestStaging(t *testing.T) {
	for name, row := range map[string]struct {
		facts facts
		want  Publication
		is    any
	}{
		"a directory is mounted":                  {with(unstaged), Publication{}, false},
		"one that is mounted is left":             {with(mountedAs("rw")), Publication{}, true},
		"one that is mounted another way is not":  {with(mountedAs("ro")), Publication{}, state.Incompatible},
		"a path that something else has":          {with(foreign), Publication{}, state.InUse},
		"a file gets a device":                    {with(aFile, unstaged), Publication{Block: true}, false},
		"a file that has a device is left":        {with(aFile), Publication{Block: true}, true},
		"no volume":                               {with(missing), Publication{}, state.NotFound},
		"a directory that is to be a device":      {with(unstaged), Publication{Block: true}, state.Unsupported},
		"one that is published elsewhere is fine": {with(unstaged, elsewhere), Publication{Single: true}, false},
	} {
		if diff := cmp.Diff(row.is, answer(decideStage(row.facts, row.want))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTakingBack(t *testing.T) {
	for name, row := range map[string]struct {
		facts              facts
		unpublish, unstage any // true: go on
	}{
		"what is mounted":                       {with(mountedAs("rw")), true, true},
		"where nothing is":                      {with(), true, true},
		"where something else is":               {with(foreign), state.InUse, state.InUse},
		"what is published elsewhere, too":      {with(mountedAs("rw"), elsewhere), true, state.InUse},
		"no volume, and nothing there":          {with(missing), true, true},
		"what is left of a volume that is gone": {with(missing, foreign), true, true},
	} {
		got := []any{answer(true, decideUnmount(row.facts)), answer(true, decideUnstage(row.facts))}
		if diff := cmp.Diff([]any{row.unpublish, row.unstage}, got); diff != "" {
			t.Errorf("%s: unpublish, unstage: %s", name, diff)
		}
	}
}
