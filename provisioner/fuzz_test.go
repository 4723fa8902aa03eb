package provisioner

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// parametersOf reads a class's parameters from text: a line each, KEY=VALUE. "@" is the reserved prefix, so that a fuzzer hits it.
func parametersOf(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		all[strings.ReplaceAll(key, "@", "csi.storage.k8s.io/")] = value
	}
	return all
}

func marshal(tb testing.TB, object any) string {
	tb.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// ours are the reserved keys that a driver may get: what --extra-create-metadata adds.
var ours = []string{"csi.storage.k8s.io/pvc/name", "csi.storage.k8s.io/pvc/namespace", "csi.storage.k8s.io/pv/name"}

// FuzzParameters makes classes of any parameters. Whatever they are: no reserved key reaches the driver but our own, all that is not reserved
// does, and the claim's volume has complete references to secrets or none.
func FuzzParameters(f *testing.F) {
	f.Add("tier=gold", false)
	f.Add("@fstype=xfs\ntier=gold", true)
	f.Add("fsType=xfs\nFSTYPE=xfs", false)
	f.Add("@provisioner-secret-name=${pvc.name}\n@provisioner-secret-namespace=${pvc.namespace}\ncsiNodeStageSecretName=s\ncsiNodeStageSecretNamespace=n", true)
	f.Add("@secret-name=s\n@secret-namespace=n\n@controller-modify-secret-name=m\n@controller-modify-secret-namespace=${pv.name}", false)
	f.Add("@pv/name=x", true)
	f.Add("@=\n@fstyp=ext4\n=\n@@", false)
	f.Fuzz(func(t *testing.T, text string, metadata bool) {
		all := parametersOf(text)
		before := maps.Clone(all)
		in := makeInput(classIs(), func(in *Input) { in.Settings.ExtraMetadata = metadata })
		in.Class.Parameters = all
		driver, fsType, splitErr := splitParameters(all)
		_, secretErr := resolveSecrets(all, testTokens())
		if splitErr == nil && !maps.Equal(DriverParameters(all), driver) {
			t.Errorf("capacity would be asked for with %q, volumes with %q", DriverParameters(all), driver)
		}
		attempt, err := seal(in, nil)
		if !maps.Equal(before, all) {
			t.Fatalf("the class changed: %q", all)
		}
		if (err != nil) != (splitErr != nil || secretErr != nil) {
			t.Fatalf("sealed: %v; parameters: %v; secrets: %v", err, splitErr, secretErr)
		}
		if err != nil {
			if got := sketch(Decide(in)); got != "refuse: "+err.Error() {
				t.Errorf("decided: %s", got)
			}
			return
		}
		got := attempt.Request.GetParameters()
		for key, value := range got {
			switch {
			case strings.HasPrefix(key, "csi.storage.k8s.io/"):
				if !metadata || !slices.Contains(ours, key) {
					t.Errorf("the driver gets reserved %q", key)
				}
			case before[key] != value || driver[key] != value:
				t.Errorf("the driver gets %q=%q", key, value)
			}
		}
		for key := range before {
			if _, ok := got[key]; !ok && !strings.HasPrefix(key, "csi.storage.k8s.io/") {
				t.Errorf("the driver does not get %q", key)
			}
		}
		want := ""
		if fsType != nil {
			want = *fsType
		}
		if source := attempt.Template.Spec.CSI; source.FSType != want {
			t.Errorf("file system %q, want %q", source.FSType, want)
		}
		checkSecrets(t, attempt)
	})
}

// checkSecrets checks that a volume to be names each secret completely and validly, or not at all.
func checkSecrets(t *testing.T, attempt *Attempt) {
	t.Helper()
	source, annotations := attempt.Template.Spec.CSI, attempt.Template.Annotations
	refs := []*corev1.SecretReference{attempt.Secret, source.ControllerPublishSecretRef, source.NodeStageSecretRef, source.NodePublishSecretRef,
		source.ControllerExpandSecretRef, source.NodeExpandSecretRef}
	for _, keys := range [][2]string{{AnnotationModifySecretName, AnnotationModifySecretNamespace}, {AnnotationDeletionSecretName, AnnotationDeletionSecretNamespace}} {
		name, named := annotations[keys[0]]
		namespace, spaced := annotations[keys[1]]
		if named != spaced {
			t.Errorf("half a secret is annotated: %q", annotations)
		}
		if name != "" || namespace != "" {
			refs = append(refs, secretRef(name, namespace))
		}
	}
	for _, ref := range refs {
		if ref != nil && len(validation.IsDNS1123Subdomain(ref.Name))+len(validation.IsDNS1123Label(ref.Namespace)) > 0 {
			t.Errorf("no secret can be called %q in %q", ref.Name, ref.Namespace)
		}
	}
	if len(attempt.Request.GetSecrets()) > 0 {
		t.Error("the request that is kept has secrets")
	}
}

// FuzzSecretTemplates expands any templates for claims of any annotations. Whatever they are: what comes of it is a valid name or an error, and
// a claim's author never chooses the namespace.
func FuzzSecretTemplates(f *testing.F) {
	f.Add("${pv.name}", "${pvc.namespace}", "team", "blue")
	f.Add("${pvc.annotations['team']}", "far", "team", "blue")
	f.Add("$pvc.name", "${pvc.name}", "", "")
	f.Add("${", "$", "${}", "$$")
	f.Add("${pvc.annotations['a']']}", "${pvc.annotations['a']}", "a']", "${pv.name}")
	f.Add("s", "${pvc.namespace", "'", "}")
	f.Fuzz(func(t *testing.T, name, namespace, key, value string) {
		all := pairs("csi.storage.k8s.io/secret-name", name, "csi.storage.k8s.io/secret-namespace", namespace)
		resolve := func(value string) (map[string]*corev1.SecretReference, error) {
			return resolveSecrets(all, testTokens(key, value))
		}
		found, err := resolve(value)
		templateAnnotations(all)
		if err != nil {
			if len(found) > 0 || err.Error() == "" {
				t.Errorf("secrets with an error: %v, %v", found, err)
			}
			return
		}
		if len(found) != len(kindsOfSecrets) {
			t.Fatalf("found %v", found)
		}
		ref := found["provisioner"]
		if len(validation.IsDNS1123Subdomain(ref.Name))+len(validation.IsDNS1123Label(ref.Namespace)) > 0 {
			t.Errorf("no secret can be called %q in %q", ref.Name, ref.Namespace)
		}
		other, err := resolve(value + "x")
		if err == nil && other["provisioner"].Namespace != ref.Namespace {
			t.Errorf("an annotation chose the namespace: %q or %q", ref.Namespace, other["provisioner"].Namespace)
		}
		if err == nil && other["provisioner"].Name != ref.Name && !slices.Contains(templateAnnotations(all), key) {
			t.Errorf("annotation %q decides, and its changes are no news", key)
		}
	})
}

// FuzzClaimAnnotations decides about claims of any form. Whatever they are: there is an answer, the claim stays as it is, the answer is the same
// the next time, and a volume is only ever created for a claim that is assigned to us and has none.
func FuzzClaimAnnotations(f *testing.F) {
	spec := func(changes ...func(*corev1.PersistentVolumeClaim)) string {
		return marshal(f, makeClaim(changes...).Spec)
	}
	f.Add(spec(), "volume.kubernetes.io/storage-provisioner", testDriver, "", "")
	f.Add(spec(), "volume.beta.kubernetes.io/storage-provisioner", testDriver, "volume.kubernetes.io/selected-node", "n")
	f.Add(spec(fromSnapshot), "volume.kubernetes.io/storage-provisioner", "kubernetes.io/aws-ebs", "pv.kubernetes.io/migrated-to", testDriver)
	f.Add(spec(fromClaim), "volume.kubernetes.io/storage-provisioner", testDriver, corev1.BetaStorageClassAnnotation, "slow")
	f.Add(spec(fromFarSnapshot, withAttributes("gold")), "volume.kubernetes.io/storage-provisioner", testDriver, "team", "blue")
	f.Add(spec(fromPopulator), "volume.kubernetes.io/storage-provisioner", testDriver, "team", "not a name")
	f.Add(`{"resources":{"requests":{"storage":"-1"}},"accessModes":[""],"volumeMode":"","dataSourceRef":{}}`, "volume.kubernetes.io/storage-provisioner", testDriver, "", "")
	f.Add(`{"resources":{"requests":{"storage":"9e99"}}}`, "volume.kubernetes.io/storage-provisioner", testDriver, "", "")
	templates := parameters("csi.storage.k8s.io/secret-name", "${pvc.annotations['team']}", "csi.storage.k8s.io/secret-namespace", "far")
	f.Fuzz(func(t *testing.T, spec, key1, value1, key2, value2 string) {
		claim := makeClaim()
		claim.Spec = corev1.PersistentVolumeClaimSpec{}
		_ = json.Unmarshal([]byte(spec), &claim.Spec) // what cannot be read is left out, which makes odd claims
		claim.Annotations = map[string]string{key1: value1, key2: value2}
		before := claim.DeepCopy()
		in := makeInput(withEverything, func(in *Input) {
			in.Claim, in.Settings.InTree = claim, "kubernetes.io/aws-ebs"
			in.Place = Place{Selected: zone("a"), Candidates: in.Place.Candidates}
		})
		for name, change := range map[string]func(*Input){
			"plain": func(*Input) {}, "delayed": classIs(waitForFirstConsumer), "with templates": classIs(templates),
			"no class": func(in *Input) { in.Class = nil }, "no place": func(in *Input) { in.Place = Place{} }, "no node": selectedErr(topology.ErrNodeGone),
			"attributes": func(in *Input) { in.AttributesClass = makeAttributesClass("gold", testDriver) },
			"a snapshot": found(snapshotFacts()), "a claim": found(claimFacts()), "nothing": found(&datasource.Facts{}),
			"stored": storedIs(), "open": attemptIs(), "created": attemptIs(created),
		} {
			facts := in
			change(&facts)
			decided := Decide(facts)
			got := sketch(decided)
			if got == "nothing" || got != sketch(Decide(facts)) {
				t.Fatalf("%s: %s, then %s", name, got, sketch(Decide(facts)))
			}
			if diff := cmp.Diff(before, claim); diff != "" {
				t.Fatalf("%s: the claim changed: %s", name, diff)
			}
			if create, ok := decided.(Create); ok && facts.Attempt == nil {
				checkCreate(t, facts, create)
			}
		}
	})
}

// checkCreate checks what must be so wherever a volume is created.
func checkCreate(t *testing.T, in Input, create Create) {
	t.Helper()
	if !assignedTo(in.Claim, in.Settings) || in.Claim.Spec.VolumeName != "" || in.Claim.Spec.Selector != nil || in.Stored != nil {
		t.Errorf("a volume is created for %v", in.Claim)
	}
	reference, _ := datasource.Resolve(in.Claim)
	source := create.Attempt.Request.GetVolumeContentSource()
	if filled := source.GetSnapshot().GetSnapshotId() != "" || source.GetVolume().GetVolumeId() != ""; filled != (reference.Kind != datasource.None) {
		t.Errorf("a volume for a claim made from %s is created from %v", reference, source)
	}
	if len(create.Attempt.Request.GetVolumeCapabilities()) != len(in.Claim.Spec.AccessModes) {
		t.Errorf("access modes %v became %v", in.Claim.Spec.AccessModes, create.Attempt.Request.GetVolumeCapabilities())
	}
	checkSecrets(t, create.Attempt)
}

// FuzzDriverAnswer concludes on any answer, for a driver of its own volumes and for those that took over. Whatever it is: nothing is accepted
// that is smaller than asked for or that lacks its source, and an accepted volume has an object with a handle, a size, and a node
// affinity that the scheduler can read.
func FuzzDriverAnswer(f *testing.F) {
	answer := func(volume *csipb.Volume) []byte {
		bytes, err := proto.Marshal(volume)
		if err != nil {
			f.Fatal(err)
		}
		return bytes
	}
	for code := range uint8(3) {
		f.Add(answer(&csipb.Volume{VolumeId: "h", CapacityBytes: 1 << 30, VolumeContext: map[string]string{"partition": "1"}}), code)
		f.Add(answer(&csipb.Volume{VolumeId: "h", CapacityBytes: -1, ContentSource: csi.ContentSource("s", "")}), code)
		f.Add(answer(&csipb.Volume{VolumeId: "h", AccessibleTopology: []*csipb.Topology{{}, {Segments: pairs("zone", "a\n", "", "")}}}), code)
		for _, o := range takenOvers {
			f.Add(answer(o.answer()), code)
		}
	}
	ebs, gce := takenOvers["AWS EBS"], takenOvers["GCE PD"]
	f.Fuzz(func(t *testing.T, bytes []byte, class uint8) {
		volume := &csipb.Volume{}
		if proto.Unmarshal(bytes, volume) != nil || volume.GetVolumeId() == "" { // that has no outcome that is done (csi, CreateVolume)
			return
		}
		outcome := csi.Outcome{Class: csi.Class(class % 5), Code: codes.Code(class % 17), Message: "words"}
		asked := makeAttempt(func(a *Attempt) { a.Request.VolumeContentSource = csi.ContentSource("snapshot-handle", "") })
		scheduled := makeAttempt(func(a *Attempt) { a.SelectedNode = "n" })
		for _, tt := range []struct {
			settings Settings
			attempt  *Attempt
		}{{testSettings(), makeAttempt()}, {testSettings(), asked}, {testSettings(), scheduled}, {ebs.settings(), ebs.attempt(t)}, {gce.settings(), gce.attempt(t)}} {
			request, template := proto.CloneOf(tt.attempt.Request), tt.attempt.Template.DeepCopy()
			step := Conclude(tt.settings, tt.attempt, Result{Outcome: outcome, Volume: volume})
			if got := sketchStep(step); got == "nothing" {
				t.Fatal("no answer")
			}
			if diff := cmp.Diff(request, tt.attempt.Request, protocmp.Transform()); diff != "" {
				t.Fatalf("the request changed: %s", diff)
			}
			if diff := cmp.Diff(template, tt.attempt.Template); diff != "" {
				t.Fatalf("the template changed: %s", diff)
			}
			if accept, ok := step.(Accept); ok {
				checkAccepted(t, tt.settings, tt.attempt, accept.Volume)
			}
		}
	})
}

// checkAccepted checks the object of a volume that was accepted.
func checkAccepted(t *testing.T, s Settings, attempt *Attempt, answer *csipb.Volume) {
	t.Helper()
	pv, err := newVolume(s, attempt, answer)
	if err != nil {
		t.Fatalf("accepted, and then: %v", err)
	}
	asked := attempt.Request.GetCapacityRange().GetRequiredBytes()
	if size := pv.Spec.Capacity[corev1.ResourceStorage]; size.Value() < asked {
		t.Errorf("a volume of %s where %d were asked for", size.String(), asked)
	}
	if attempt.Request.GetVolumeContentSource() != nil && answer.GetContentSource() == nil {
		t.Error("a volume that may be empty")
	}
	if (pv.Spec.CSI == nil) != (attempt.MigratedFrom != "") || pv.Spec.CSI != nil && pv.Spec.CSI.VolumeHandle != answer.GetVolumeId() {
		t.Errorf("source %v of handle %q", pv.Spec.PersistentVolumeSource, answer.GetVolumeId())
	}
	if !sameVolume(s, pv, pv) || !refersTo(s, pv, answer.GetVolumeId()) || !isFor(pv, attempt.Claim.UID) {
		t.Errorf("the object is not known again: %v", pv)
	}
	if err := topology.ValidateSegment(topology.NewSegment(pv.Labels)); err != nil {
		t.Errorf("labels %q: %v", pv.Labels, err)
	}
	if pv.Spec.NodeAffinity == nil {
		return
	}
	if _, err := nodeaffinity.NewNodeSelector(pv.Spec.NodeAffinity.Required); err != nil || len(pv.Spec.NodeAffinity.Required.NodeSelectorTerms) == 0 {
		t.Errorf("node affinity %v: %v", pv.Spec.NodeAffinity, err)
	}
}
