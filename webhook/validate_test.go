package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/berth-csi/berth/datasource"
)

const (
	block      = corev1.PersistentVolumeBlock
	filesystem = corev1.PersistentVolumeFilesystem
)

// restorable are the facts of a snapshot that was taken of a volume of that mode.
func restorable(mode corev1.PersistentVolumeMode, changes ...func(*datasource.Facts)) *datasource.Facts {
	snapshot, content := makeSnapshot(mode)
	facts := &datasource.Facts{SnapshotsServed: true, Snapshot: snapshot, Content: content}
	for _, change := range changes {
		change(facts)
	}
	return facts
}

func permitting(value string) func(*datasource.Facts) {
	return func(facts *datasource.Facts) {
		facts.Content.Annotations = map[string]string{datasource.AnnotationAllowModeChange: value}
	}
}

// clonable are the facts of a claim, and its volume, of that mode.
func clonable(mode corev1.PersistentVolumeMode, changes ...func(*datasource.Facts)) *datasource.Facts {
	claim, volume := makeSource(ofMode(mode))
	facts := &datasource.Facts{SourceClaim: claim, SourceVolume: volume}
	for _, change := range changes {
		change(facts)
	}
	return facts
}

func TestValidate(t *testing.T) {
	strict := func(facts *ValidateFacts) { facts.RequireSourceMode = true }
	crossing := func(facts *ValidateFacts) { facts.CrossNamespace = true }
	lax := func(facts *ValidateFacts) { facts.PreventModeConversion = false }
	far := func(facts *datasource.Facts) {
		facts.Snapshot.Namespace, facts.Content.Spec.VolumeSnapshotRef.Namespace = "far", "far"
		facts.GrantsServed = true
	}
	granted := func(facts *datasource.Facts) {
		facts.Grants = []*gatewayv1beta1.ReferenceGrant{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "far"},
			Spec: gatewayv1beta1.ReferenceGrantSpec{
				From: []gatewayv1beta1.ReferenceGrantFrom{{Kind: "PersistentVolumeClaim", Namespace: "ns"}},
				To:   []gatewayv1beta1.ReferenceGrantTo{{Group: snapshotv1.GroupName, Kind: "VolumeSnapshot"}},
			},
		}}
	}
	blockRestore, fileRestore := makeClaim(fromSnapshot, ofMode(block)), makeClaim(fromSnapshot)
	blockClone := makeClaim(fromClaim, ofMode(block))
	const differs = "refused: VolumeModeDiffers: the claim's volume mode is Block, VolumeSnapshot ns/snap was taken of a Filesystem volume"
	tests := map[string]struct {
		claim  *corev1.PersistentVolumeClaim
		source *datasource.Facts
		facts  func(*ValidateFacts)
		want   string   // how the sketch begins; with a "$" at its end, all of it
		names  []string // what it must name
		hides  []string // what it must not tell
	}{
		"a claim made from nothing":       {claim: makeClaim(), want: "NoDataSource$"},
		"a claim that a populator fills":  {claim: makeClaim(fromPopulator), want: "NoDataSource$"},
		"a claim of another driver":       {claim: blockRestore, facts: func(facts *ValidateFacts) { facts.Class = makeClass(classOf("other.example")) }, want: "OtherProvisioner$"},
		"a claim without a class":         {claim: blockRestore, facts: func(facts *ValidateFacts) { facts.Class = nil }, want: "StorageClassUnknown$"},
		"a claim that is being deleted":   {claim: makeClaim(fromSnapshot, deleting), want: "Deleting$"},
		"an update of something else":     {claim: blockRestore, facts: func(facts *ValidateFacts) { facts.Old = blockRestore }, want: "NothingNew$"},
		"a source without a name":         {claim: makeClaim(fromSnapshot, func(claim *corev1.PersistentVolumeClaim) { claim.Spec.DataSource.Name = "" }), want: "InvalidDataSource | provisioning will refuse this claim: "},
		"a source that could not be read": {claim: blockRestore, want: "SourceUnreadable | the volume mode of VolumeSnapshot ns/snap was not checked: it could not be read [volume-mode-unchecked: SourceUnreadable]$"},
		"a restore in the same mode":      {claim: fileRestore, source: restorable(filesystem), want: "VolumeModeKept$"},
		"a restore without an opinion":    {claim: makeClaim(fromSnapshot, func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeMode = nil }), source: restorable(block), want: "VolumeModeKept$"},
		"a snapshot that does not exist":  {claim: blockRestore, source: restorable("", func(facts *datasource.Facts) { facts.Snapshot = nil }), want: "SnapshotNotFound | waiting for VolumeSnapshot ns/snap: it does not exist [volume-mode-unchecked: SnapshotNotFound]$"},
		"a cluster without snapshots":     {claim: blockRestore, source: &datasource.Facts{}, want: "VolumeSnapshotsNotServed | "},
		"a snapshot that is not bound":    {claim: blockRestore, source: restorable(filesystem, func(facts *datasource.Facts) { facts.Snapshot.Status = nil }), want: "SnapshotNotBound | "},
		"a content that does not exist":   {claim: blockRestore, source: restorable("", func(facts *datasource.Facts) { facts.Content = nil }), want: "SnapshotContentNotFound | "},
		"a content of another driver":     {claim: blockRestore, source: restorable(filesystem, func(facts *datasource.Facts) { facts.Content.Spec.Driver = "other.example" }), want: "SourceOfOtherDriver | provisioning will refuse this claim: "},
		"a content of another snapshot": {claim: blockRestore, source: restorable(filesystem, func(facts *datasource.Facts) {
			facts.Content.Spec.VolumeSnapshotRef = corev1.ObjectReference{Namespace: "secret", Name: "plan", UID: "x"}
		}), want: "SnapshotContentMismatch | provisioning will refuse this claim: its data source and what that is bound to do not refer to each other", hides: []string{"secret", "plan"}},
		"a snapshot that is being deleted":     {claim: fileRestore, source: restorable(filesystem, func(facts *datasource.Facts) { facts.Snapshot.DeletionTimestamp = deletion() }), want: "SnapshotDeleting | provisioning will refuse this claim: "},
		"a claim that asks for too little":     {claim: makeClaim(fromSnapshot, requesting("1Mi")), source: restorable(filesystem), want: "RequestTooSmall | provisioning will refuse this claim: "},
		"a snapshot that is not ready":         {claim: fileRestore, source: restorable(filesystem, func(facts *datasource.Facts) { facts.Snapshot.Status.ReadyToUse = nil }), want: "SnapshotNotReady | waiting for VolumeSnapshot ns/snap to be ready to use$"},
		"a snapshot of nobody knows what":      {claim: blockRestore, source: restorable(""), want: "SourceVolumeModeUnknown [volume-mode-unchecked: SourceVolumeModeUnknown]$"},
		"which strictness does not permit":     {claim: blockRestore, source: restorable(""), facts: strict, want: "refused: SourceVolumeModeUnknown: ", names: []string{`"content"`, "Block", "spec.sourceVolumeMode", datasource.AnnotationAllowModeChange, "VolumeSnapshot ns/snap"}},
		"unless the annotation does":           {claim: blockRestore, source: restorable("", permitting("true")), facts: strict, want: "SourceVolumeModeUnknown ["},
		"strictness and a known mode":          {claim: blockRestore, source: restorable(block), facts: strict, want: "VolumeModeKept$"},
		"strictness without the rule":          {claim: blockRestore, source: restorable(""), facts: func(facts *ValidateFacts) { strict(facts); lax(facts) }, want: "VolumeModeKept$"},
		"another mode":                         {claim: blockRestore, source: restorable(filesystem), want: differs, names: []string{`VolumeSnapshotContent "content" is missing`, datasource.AnnotationAllowModeChange, "permission to update VolumeSnapshotContents"}},
		"the other way round":                  {claim: fileRestore, source: restorable(block), want: "refused: VolumeModeDiffers: the claim's volume mode is Filesystem, VolumeSnapshot ns/snap was taken of a Block volume"},
		"another mode, forbidden in so many":   {claim: blockRestore, source: restorable(filesystem, permitting("false")), want: differs, names: []string{`is "false"`}},
		"another mode, permitted with a typo":  {claim: blockRestore, source: restorable(filesystem, permitting("yes")), want: differs, names: []string{`is "yes", which is not a boolean`}},
		"another mode, permitted":              {claim: blockRestore, source: restorable(filesystem, permitting("true")), want: "VolumeModeConverted | the volume mode is changed from Filesystem to Block, as annotation " + datasource.AnnotationAllowModeChange + ` of VolumeSnapshotContent "content" permits [volume-mode-conversion: Filesystem to Block, VolumeSnapshotContent content]$`},
		"permitted, but not ready":             {claim: blockRestore, source: restorable(filesystem, permitting("1"), func(facts *datasource.Facts) { facts.Snapshot.Status.ReadyToUse = nil }), want: "SnapshotNotReady | the volume mode is changed", names: []string{"to be ready to use", "[volume-mode-conversion: "}},
		"another mode of one that isn't ready": {claim: blockRestore, source: restorable(filesystem, func(facts *datasource.Facts) { facts.Snapshot.Status.ReadyToUse = nil }), want: differs},
		"another mode where nobody minds":      {claim: blockRestore, source: restorable(filesystem), facts: lax, want: "VolumeModeKept$"},
		"another mode, on an update":           {claim: blockRestore, source: restorable(filesystem), facts: func(facts *ValidateFacts) { facts.Old = makeClaim(withoutClass, fromSnapshot) }, want: "VolumeModeDiffers | provisioning will refuse this claim: the claim's volume mode is Block"},
		"the same mode, on an update":          {claim: fileRestore, source: restorable(filesystem), facts: func(facts *ValidateFacts) { facts.Old = makeClaim(withoutClass, fromSnapshot) }, want: "VolumeModeKept$"},

		"a clone in the same mode":          {claim: makeClaim(fromClaim), source: clonable(filesystem), want: "VolumeModeKept$"},
		"a clone in another mode":           {claim: blockClone, source: clonable(filesystem), want: "refused: VolumeModeDiffers: the claim's volume mode is Block", names: []string{"Filesystem", "PersistentVolumeClaim ns/source"}},
		"whatever the conversion rule":      {claim: blockClone, source: clonable(filesystem), facts: lax, want: "refused: VolumeModeDiffers: "},
		"a clone of one without a volume":   {claim: blockClone, source: clonable(filesystem, func(facts *datasource.Facts) { facts.SourceClaim.Spec.VolumeName, facts.SourceVolume = "", nil }), want: "refused: VolumeModeDiffers: the claim's volume mode is Block, that of PersistentVolumeClaim ns/source, which it is to be cloned from, is Filesystem: ", names: []string{"for snapshots only"}},
		"a clone that asks for too little":  {claim: makeClaim(fromClaim, ofMode(block), requesting("1Mi")), source: clonable(filesystem), want: "refused: VolumeModeDiffers: "},
		"a clone of what does not exist":    {claim: blockClone, source: &datasource.Facts{}, want: "SourceClaimNotFound | waiting for PersistentVolumeClaim ns/source: it does not exist [volume-mode-unchecked: SourceClaimNotFound]$"},
		"a clone of one that waits":         {claim: makeClaim(fromClaim), source: clonable(filesystem, func(facts *datasource.Facts) { facts.SourceClaim.Status.Phase = corev1.ClaimPending }), want: "SourceClaimNotBound | waiting for "},
		"a clone of one that is on its way": {claim: makeClaim(fromClaim), source: clonable(filesystem, func(facts *datasource.Facts) { facts.SourceClaim.DeletionTimestamp = deletion() }), want: "SourceClaimDeleting | provisioning will refuse"},
		"a clone of another driver's":       {claim: makeClaim(fromClaim), source: clonable(filesystem, func(facts *datasource.Facts) { facts.SourceVolume.Spec.CSI.Driver = "other.example" }), want: "SourceOfOtherDriver | provisioning will refuse"},
		"a clone of somebody else's volume": {claim: makeClaim(fromClaim), source: clonable(filesystem, func(facts *datasource.Facts) {
			facts.SourceVolume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "secret", Name: "plan"}
		}), want: "SourceVolumeMismatch | provisioning will refuse", hides: []string{"secret", "plan"}},
		"a volume that is not like its claim": {claim: makeClaim(fromClaim), source: clonable(filesystem, func(facts *datasource.Facts) { facts.SourceVolume.Spec.VolumeMode = new(block) }), want: "refused: VolumeModeDiffers: "},

		"far away, with the gate off":       {claim: makeClaim(fromFarSnapshot, ofMode(block)), source: restorable(filesystem, far), want: "CrossNamespaceDisabled | provisioning will refuse this claim: ", names: []string{"CrossNamespaceVolumeDataSource"}, hides: []string{"Filesystem"}},
		"far away, and nobody permits it":   {claim: makeClaim(fromFarSnapshot, ofMode(block)), source: restorable(filesystem, far), facts: crossing, want: "ReferenceNotGranted | the data source is in another namespace, which has to permit that with a ReferenceGrant: no volume is created before it does [", hides: []string{"Filesystem", "snap", "exist"}},
		"far away, and it does not exist":   {claim: makeClaim(fromFarSnapshot, ofMode(block)), source: &datasource.Facts{GrantsServed: true}, facts: crossing, want: "ReferenceNotGranted | the data source is in another namespace, which has to permit that with a ReferenceGrant: no volume is created before it does [", hides: []string{"snap"}},
		"far away, and nobody can":          {claim: makeClaim(fromFarSnapshot), source: &datasource.Facts{}, facts: crossing, want: "ReferenceGrantsNotServed | the data source is in another namespace"},
		"far away, permitted, another mode": {claim: makeClaim(fromFarSnapshot, ofMode(block)), source: restorable(filesystem, far, granted), facts: crossing, want: "refused: VolumeModeDiffers: ", names: []string{"VolumeSnapshot far/snap"}},
		"far away, permitted, the same":     {claim: makeClaim(fromFarSnapshot), source: restorable(filesystem, far, granted), facts: crossing, want: "VolumeModeKept$"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			facts := ValidateFacts{Driver: testDriver, PreventModeConversion: true, Class: makeClass(), Source: tt.source}
			if tt.facts != nil {
				tt.facts(&facts)
			}
			got := sketch(Validate(tt.claim, facts))
			if whole, ok := strings.CutSuffix(tt.want, "$"); ok && got != whole || !ok && !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			for _, text := range tt.names {
				if !strings.Contains(got, text) {
					t.Errorf("%s\ndoes not name %s", got, text)
				}
			}
			for _, text := range tt.hides {
				if strings.Contains(got, text) {
					t.Errorf("%s\ntells %s", got, text)
				}
			}
		})
	}
}

// reviewClaim has a claim's creation reviewed by a whole Handler.
func reviewClaim(t *testing.T, config Config, claim *corev1.PersistentVolumeClaim) string {
	t.Helper()
	response := ask(t, Handler(config), PathValidateClaim, reviewOf(kindClaim(), marshal(t, claim), nil))
	switch {
	case !response.Allowed:
		return fmt.Sprintf("refused %d %s", response.Result.Code, response.Result.Message)
	case len(response.Warnings) > 0:
		return "admitted: " + strings.Join(response.Warnings, " | ")
	}
	return "admitted"
}

func TestValidateReadsOnceBeforeItRefuses(t *testing.T) {
	permitted := restorable(filesystem, permitting("true"))
	snapshot, content := makeSnapshot(filesystem)
	source, volume := makeSource()
	noMode, _ := makeSource(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeMode = nil })
	trimmed := volume.DeepCopy()
	trimmed.Spec.VolumeMode = nil
	all := []any{makeClass(), snapshot, content, source, volume}
	tests := map[string]struct {
		objects []any
		claim   *corev1.PersistentVolumeClaim
		change  func(*Lookups)
		live    *datasource.Facts // nil: the API server does not answer
		reads   int
		want    string
	}{
		"what is allowed needs no read":              {all, makeClaim(fromSnapshot), nil, nil, 0, "admitted"},
		"nor does a clone that is":                   {all, makeClaim(fromClaim), nil, nil, 0, "admitted"},
		"nor what is not there yet":                  {[]any{makeClass()}, makeClaim(fromSnapshot), nil, nil, 0, "admitted: waiting for VolumeSnapshot ns/snap: it does not exist"},
		"nor a source claim that is not":             {[]any{makeClass()}, makeClaim(fromClaim), nil, nil, 0, "admitted: waiting for PersistentVolumeClaim ns/source: it does not exist"},
		"nor a snapshot that is not bound":           {[]any{makeClass(), &snapshotv1.VolumeSnapshot{ObjectMeta: snapshot.ObjectMeta}}, makeClaim(fromSnapshot), nil, nil, 0, "admitted: waiting for VolumeSnapshot ns/snap to be bound"},
		"nor another driver's claim":                 {[]any{makeClass(classOf("other.example"))}, makeClaim(fromSnapshot), nil, nil, 0, "admitted"},
		"nor a source in another namespace":          {all, makeClaim(fromFarSnapshot), nil, nil, 0, "admitted: provisioning will refuse this claim: the claim gives a namespace"},
		"the cache lags behind the annotation":       {all, makeClaim(fromSnapshot, ofMode(block)), nil, permitted, 1, "admitted: the volume mode is changed"},
		"the API server agrees":                      {all, makeClaim(fromSnapshot, ofMode(block)), nil, restorable(filesystem), 1, "refused 403 the claim's volume mode is Block"},
		"the API server does not answer":             {all, makeClaim(fromSnapshot, ofMode(block)), nil, nil, 1, "admitted: the volume mode of VolumeSnapshot ns/snap was not checked"},
		"a clone, and the API server agrees":         {all, makeClaim(fromClaim, ofMode(block)), nil, clonable(filesystem), 1, "refused 403 the claim's volume mode is Block"},
		"no cache has contents":                      {all, makeClaim(fromSnapshot, ofMode(block)), func(l *Lookups) { l.Contents = nil }, restorable(filesystem), 1, "refused 403 "},
		"no cache has contents, and all is well":     {all, makeClaim(fromSnapshot), func(l *Lookups) { l.Contents = nil }, restorable(filesystem), 1, "admitted"},
		"contents are not watched at the moment":     {all, makeClaim(fromSnapshot), func(l *Lookups) { l.Contents = contentsWatched{} }, restorable(filesystem), 1, "admitted"},
		"snapshots are not watched at the moment":    {all, makeClaim(fromSnapshot), func(l *Lookups) { l.Snapshots = snapshotsWatched{} }, restorable(filesystem), 1, "admitted"},
		"a claim that was trimmed tells too little":  {[]any{makeClass(), noMode, volume}, makeClaim(fromClaim), nil, clonable(filesystem), 1, "admitted"},
		"a volume that was trimmed tells too little": {[]any{makeClass(), source, trimmed}, makeClaim(fromClaim), nil, clonable(filesystem), 1, "admitted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config, reads := testConfig(cached(t, tt.objects...)), 0
			config.Lookups.Sources = liveSources(func(ctx context.Context, reference datasource.Reference) (datasource.Facts, error) {
				reads++
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("a live read without a deadline")
				}
				if tt.live == nil {
					return datasource.Facts{}, errors.New("no answer")
				}
				return *tt.live, nil
			})
			if tt.change != nil {
				tt.change(&config.Lookups)
			}
			got := reviewClaim(t, config, tt.claim)
			if !strings.HasPrefix(got, tt.want) || tt.want == "admitted" && got != tt.want || reads != tt.reads {
				t.Errorf("%d live reads, want %d; got  %s\nwant %s", reads, tt.reads, got, tt.want)
			}
		})
	}
}

func TestValidateAsksForGrantsInMemoryFirst(t *testing.T) {
	far := restorable(filesystem, func(facts *datasource.Facts) { facts.GrantsServed = true })
	for name, tt := range map[string]struct {
		grants Grants
		reads  int
	}{
		"all are known":     {grantsWatched{synced: true}, 0},
		"not all are known": {grantsWatched{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			config, reads := testConfig(cached(t, makeClass())), 0
			config.CrossNamespace, config.Lookups.Grants = true, tt.grants
			config.Lookups.Sources = liveSources(func(context.Context, datasource.Reference) (datasource.Facts, error) {
				reads++
				return *far, nil
			})
			got := reviewClaim(t, config, makeClaim(fromFarSnapshot, ofMode(block)))
			if !strings.HasPrefix(got, "admitted: the data source is in another namespace") || reads != tt.reads {
				t.Errorf("%d live reads, want %d; got %s", reads, tt.reads, got)
			}
		})
	}
}

func TestValidateContent(t *testing.T) {
	content := func(mode corev1.PersistentVolumeMode, changes ...func(*snapshotv1.VolumeSnapshotContent)) *snapshotv1.VolumeSnapshotContent {
		_, content := makeSnapshot(mode)
		for _, change := range changes {
			change(content)
		}
		return content
	}
	allowing := func(value string) func(*snapshotv1.VolumeSnapshotContent) {
		return func(content *snapshotv1.VolumeSnapshotContent) {
			content.Annotations = map[string]string{datasource.AnnotationAllowModeChange: value}
		}
	}
	tests := map[string]struct {
		content, old *snapshotv1.VolumeSnapshotContent
		user         string
		want         string
	}{
		"a new one":                            {content: content(block), want: "ContentValid"},
		"a new one without a mode":             {content: content(""), want: "ContentValid"},
		"a mode that is set by anybody":        {content: content(block), old: content(""), user: "eve", want: "refused: SourceVolumeModeSet: spec.sourceVolumeMode of VolumeSnapshotContent \"content\" is not set, and only who is trusted"},
		"a mode that is set by the snapshot's": {content: content(block), old: content(""), user: "snapshot-controller", want: "ContentValid"},
		"a mode that stays":                    {content: content(block), old: content(block), user: "eve", want: "ContentValid"},
		"another driver's":                     {content: content(block, func(content *snapshotv1.VolumeSnapshotContent) { content.Spec.Driver = "other.example" }), old: content(""), want: "OtherProvisioner"},
		"one that is being deleted":            {content: content(block, func(content *snapshotv1.VolumeSnapshotContent) { content.DeletionTimestamp = deletion() }), old: content(""), want: "Deleting"},
		"permission":                           {content: content(block, allowing("true")), old: content(block), want: "ContentValid"},
		"permission with a typo":               {content: content(block, allowing("ture")), old: content(block), want: "refused: InvalidAnnotation: annotation " + datasource.AnnotationAllowModeChange + " of VolumeSnapshotContent \"content\" is \"ture\", which is not a boolean"},
		"permission with another typo":         {content: content(block, allowing("")), old: content(block, allowing("x")), want: "refused: InvalidAnnotation: "},
		"a typo from the start":                {content: content(block, allowing("yes")), want: "refused: InvalidAnnotation: "},
		"a typo that was let in before":        {content: content(block, allowing("yes")), old: content(block, allowing("yes")), want: "ContentValid"},
		"a typo of any length":                 {content: content(block, allowing(strings.Repeat("x", 10_000))), want: "refused: InvalidAnnotation: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := sketch(ValidateContent(tt.content, ContentFacts{
				Driver: testDriver, Old: tt.old, User: tt.user, Groups: []string{"system:authenticated"}, Trusted: []string{"snapshot-controller", "admins"},
			}))
			if !strings.HasPrefix(got, tt.want) || len(got) > 500 {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	in := ContentFacts{Driver: testDriver, Old: content(""), User: "ada", Groups: []string{"x", "admins"}, Trusted: []string{"admins"}}
	if got := sketch(ValidateContent(content(block), in)); got != ReasonContentValid {
		t.Errorf("a member of a trusted group: %s", got)
	}
}

func TestValidateNeedsNoBindingMode(t *testing.T) {
	class := makeClass(func(class *storagev1.StorageClass) { class.VolumeBindingMode = nil })
	facts := ValidateFacts{Driver: testDriver, Class: class, PreventModeConversion: true, Source: restorable(block)}
	if _, refused := Validate(makeClaim(fromSnapshot), facts).(Refuse); !refused {
		t.Error("admitted")
	}
	if delayed(class) {
		t.Error("no binding mode is Immediate")
	}
}
