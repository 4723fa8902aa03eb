package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// String is the verdict in a line.
func (v verdict) String() string {
	var parts []string
	for _, part := range []struct {
		what string
		n    int
	}{
		{"leaked", len(v.Leaked)}, {"doubled", len(v.Doubled)}, {"not bound", len(v.Unbound)},
		{"PVs without volume", len(v.PVWithoutVolume)}, {"deleted claims still there", len(v.Lingering)},
		{"PVs of deleted claims still there", len(v.Orphaned)},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if len(parts) == 0 {
		return "all as it should be"
	}
	return strings.Join(parts, ", ")
}

// A trouble is one thing that is wrong, and by what it is called in logs.
type trouble struct {
	what   string
	claim  types.UID
	handle string
}

func (v verdict) troubles() []trouble {
	var all []trouble
	for _, volume := range v.Leaked {
		all = append(all, trouble{fmt.Sprintf("volume %s (%s) has no PV", volume.Handle, volume.Name), volume.claim(), volume.Handle})
	}
	for _, claim := range v.Doubled {
		all = append(all, trouble{fmt.Sprintf("claim %s has several volumes", claim.Name), claim.UID, ""})
	}
	for _, claim := range v.Unbound {
		all = append(all, trouble{fmt.Sprintf("claim %s is not bound: %+v", claim.Name, claim), claim.UID, ""})
	}
	for _, pv := range v.PVWithoutVolume {
		all = append(all, trouble{fmt.Sprintf("PV %s refers to volume %s, which is not there", pv.Name, pv.Handle), pv.Claim, pv.Handle})
	}
	for _, claim := range v.Lingering {
		all = append(all, trouble{fmt.Sprintf("claim %s was deleted and is still there", claim.Name), claim.UID, ""})
	}
	for _, pv := range v.Orphaned {
		all = append(all, trouble{fmt.Sprintf("PV %s is of a claim that was deleted", pv.Name), pv.Claim, pv.Handle})
	}
	return all
}

const (
	explained = 5  // troubles are told with their history
	tail      = 12 // lines of a history, of each kind
	width     = 400
)

// explain tells what is wrong, and of the first few what the driver was asked and what the subject wrote about them.
func (r *chaosRun) explain(ctx context.Context, o outcome) string {
	var b strings.Builder
	for _, complaint := range o.complaints {
		fmt.Fprintf(&b, "%s\n", complaint)
	}
	calls, err := r.driver.Calls(ctx, "")
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
	}
	for i, trouble := range o.verdict.troubles() {
		fmt.Fprintf(&b, "%s; %s\n", trouble.what, r.lifeOf(trouble.claim))
		if i >= explained {
			continue
		}
		for _, call := range last(callsAbout(calls, trouble)) {
			fmt.Fprintf(&b, "    driver: %s %s %s\n", call.Time.Local().Format("15:04:05.000"), call, call.Error)
		}
		for _, line := range last(r.logAbout(trouble)) {
			fmt.Fprintf(&b, "    log: %s\n", line)
		}
	}
	if r.subject == subjectBerth {
		fmt.Fprintf(&b, "the journal:\n%s", r.journal(ctx))
	}
	return b.String()
}

// lifeOf says which claim it was and what was done to it.
func (r *chaosRun) lifeOf(uid types.UID) string {
	for _, claim := range r.ledger.all() {
		if claim.UID != uid {
			continue
		}
		at := slices.IndexFunc(r.schedule.Claims, func(life claimLife) bool { return life.Name == claim.Name })
		life := r.schedule.Claims[at]
		text := fmt.Sprintf("claim %s, delayed=%t, created about %s", claim.Name, life.Delayed, r.began.Add(life.Create).Format("15:04:05.000"))
		if life.Deleted {
			text += ", deleted about " + r.began.Add(life.Delete).Format("15:04:05.000")
		}
		return text
	}
	return fmt.Sprintf("no claim with UID %s was created", uid)
}

// callsAbout are the driver's calls in which the volume's name or handle occurs.
func callsAbout(calls []harness.Call, t trouble) []harness.Call {
	var about []harness.Call
	handle := t.handle
	for _, call := range calls {
		switch {
		case call.Method == harness.CreateVolume && call.Subject() == namePrefix+string(t.claim):
			if volume, err := call.CreatedVolume(); err == nil && volume.Volume.VolumeID != "" {
				handle = volume.Volume.VolumeID
			}
			about = append(about, call)
		case call.Method == harness.DeleteVolume && call.Subject() == handle:
			about = append(about, call)
		}
	}
	return about
}

// logAbout are the lines of the subject's logs in which the claim or the volume occurs.
func (r *chaosRun) logAbout(t trouble) []string {
	files, _ := filepath.Glob(filepath.Join(r.dir, "*.log")) // the pattern is right
	var lines []string
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			lines = append(lines, err.Error())
			continue
		}
		scanner := bufio.NewScanner(file)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			line := scanner.Text()
			if strings.Contains(line, string(t.claim)) || t.handle != "" && strings.Contains(line, t.handle) {
				lines = append(lines, filepath.Base(name)+": "+line[:min(len(line), width)])
			}
		}
		_ = file.Close()
	}
	return lines
}

func last[T any](all []T) []T { return all[max(0, len(all)-tail):] }

// journal is what "berth journal" prints.
func (r *chaosRun) journal(ctx context.Context) string {
	binary, err := harness.Binary("berth")
	if err != nil {
		return err.Error()
	}
	command := exec.CommandContext(ctx, binary, "journal", "--kubeconfig", r.controlPlane.Kubeconfig(),
		"--namespace", harness.BerthNamespace, "--driver-name", r.driver.Name)
	command.Env = []string{} // without KUBECONFIG
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("berth journal: %v\n%s", err, out)
	}
	return string(out)
}
