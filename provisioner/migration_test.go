package provisioner

import (
	"fmt"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/topology"
)

// takenOver is a driver that took over from an in-tree one, and what their objects look like.
type takenOver struct {
	driver, inTree, zoneKey string
	handle                  string                        // as the driver answers it
	kept                    string                        // as it is read from the in-tree object again
	zones                   []string                      // of the driver's answer
	source                  corev1.PersistentVolumeSource // of the in-tree object
	affinity                []corev1.NodeSelectorRequirement
	labels                  map[string]string
}

func in(key string, values ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
}

var takenOvers = map[string]takenOver{
	"AWS EBS": {
		driver: "ebs.csi.aws.com", inTree: "kubernetes.io/aws-ebs", zoneKey: "topology.ebs.csi.aws.com/zone",
		handle: "vol-0123456789abcdef0", kept: "vol-0123456789abcdef0", zones: []string{"us-east-1a"},
		source: corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{
			VolumeID: "vol-0123456789abcdef0", FSType: "ext4"}},
		affinity: []corev1.NodeSelectorRequirement{in(corev1.LabelTopologyZone, "us-east-1a"), in(corev1.LabelTopologyRegion, "us-east-1")},
		labels:   map[string]string{corev1.LabelTopologyZone: "us-east-1a", corev1.LabelTopologyRegion: "us-east-1"},
	},
	"GCE PD": {
		driver: "pd.csi.storage.gke.io", inTree: "kubernetes.io/gce-pd", zoneKey: "topology.gke.io/zone",
		handle: "projects/p/zones/us-central1-a/disks/disk", kept: "projects/UNSPECIFIED/zones/us-central1-a/disks/disk", zones: []string{"us-central1-a"},
		source:   corev1.PersistentVolumeSource{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{PDName: "disk", FSType: "ext4"}},
		affinity: []corev1.NodeSelectorRequirement{in(corev1.LabelTopologyZone, "us-central1-a"), in(corev1.LabelTopologyRegion, "us-central1")},
		labels:   map[string]string{corev1.LabelTopologyZone: "us-central1-a", corev1.LabelTopologyRegion: "us-central1"},
	},
	"Cinder": {
		driver: "cinder.csi.openstack.org", inTree: "kubernetes.io/cinder", zoneKey: "topology.cinder.csi.openstack.org/zone",
		handle: "3ed4e0a2-f1a5-4c8e-8d0f-3a1d3ae32d54", kept: "3ed4e0a2-f1a5-4c8e-8d0f-3a1d3ae32d54", zones: []string{"nova"},
		source:   corev1.PersistentVolumeSource{Cinder: &corev1.CinderPersistentVolumeSource{VolumeID: "3ed4e0a2-f1a5-4c8e-8d0f-3a1d3ae32d54", FSType: "ext4"}},
		affinity: []corev1.NodeSelectorRequirement{in(corev1.LabelTopologyZone, "nova")},
		labels:   map[string]string{corev1.LabelTopologyZone: "nova"},
	},
}

func (o takenOver) settings() Settings {
	s := testSettings()
	s.Driver.Name, s.InTree, s.DefaultFSType = o.driver, InTreeName(o.driver), "ext4"
	return s
}

// claim is one of an in-tree class, as the controller-manager annotates it.
func (o takenOver) claim(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	assigned := []func(*corev1.PersistentVolumeClaim){
		annotated("volume.kubernetes.io/storage-provisioner", o.inTree), annotated("pv.kubernetes.io/migrated-to", o.driver),
	}
	return makeClaim(append(assigned, changes...)...)
}

func (o takenOver) class(changes ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	return makeClass(append([]func(*storagev1.StorageClass){func(class *storagev1.StorageClass) { class.Provisioner = o.inTree }}, changes...)...)
}

// input is what is gathered about the claim.
func (o takenOver) input(t *testing.T, changes ...func(*storagev1.StorageClass)) Input {
	t.Helper()
	in := Input{Settings: o.settings(), Claim: o.claim(), Place: Place{Candidates: o.segments()}}
	var err error
	if in.Class, in.MigratedFrom, err = translateClass(in.Settings, o.class(changes...)); err != nil {
		in.ClassProblem = err.Error()
	}
	return in
}

func (o takenOver) segments() (segments []topology.Segment) {
	for _, zone := range o.zones {
		segments = append(segments, topology.NewSegment(map[string]string{o.zoneKey: zone}))
	}
	return segments
}

func (o takenOver) answer() *csipb.Volume {
	answer := &csipb.Volume{VolumeId: o.handle, CapacityBytes: 1 << 30}
	for _, segment := range o.segments() {
		answer.AccessibleTopology = append(answer.AccessibleTopology, &csipb.Topology{Segments: segment.Map()})
	}
	return answer
}

// attempt is the open attempt of the claim, with the volume that the driver made.
func (o takenOver) attempt(t *testing.T) *Attempt {
	t.Helper()
	attempt := sealed(o.input(t), nil)
	attempt.Volume = o.answer()
	return attempt
}

func allowedIn(key string, values ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.AllowedTopologies = []corev1.TopologySelectorTerm{{
			MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: key, Values: values}}}}
	}
}

func TestInTreeNames(t *testing.T) {
	for name, o := range takenOvers {
		if got := InTreeName(o.driver); got != o.inTree {
			t.Errorf("%s: got %q", name, got)
		}
	}
	for _, driver := range []string{testDriver, "", "kubernetes.io/aws-ebs"} {
		if got := InTreeName(driver); got != "" {
			t.Errorf("%q took over from %q", driver, got)
		}
	}
}

func TestClassesOfAnInTreeDriverAreTranslated(t *testing.T) {
	ebs, gce, cinder := takenOvers["AWS EBS"], takenOvers["GCE PD"], takenOvers["Cinder"]
	tests := map[string]struct {
		of         takenOver
		class      []func(*storagev1.StorageClass)
		parameters map[string]string
		allowed    []topology.Segment
		problem    string
	}{
		"nothing to say":          {ebs, nil, pairs(), nil, ""},
		"parameters of EBS":       {ebs, []func(*storagev1.StorageClass){parameters("type", "gp3", "fsType", "xfs")}, pairs("type", "gp3", "csi.storage.k8s.io/fstype", "xfs"), nil, ""},
		"IOPS per GB of EBS":      {ebs, []func(*storagev1.StorageClass){parameters("iopsPerGB", "10")}, pairs("iopsPerGB", "10", "allowautoiopspergbincrease", "true"), nil, ""},
		"zones as parameters":     {ebs, []func(*storagev1.StorageClass){parameters("zones", "us-east-1a,us-east-1b")}, pairs(), []topology.Segment{topology.NewSegment(pairs(ebs.zoneKey, "us-east-1a")), topology.NewSegment(pairs(ebs.zoneKey, "us-east-1b"))}, ""},
		"a zone of EBS":           {ebs, []func(*storagev1.StorageClass){allowedIn(corev1.LabelTopologyZone, "us-east-1a")}, pairs(), ebs.segments(), ""},
		"a zone in the old key":   {ebs, []func(*storagev1.StorageClass){allowedIn(corev1.LabelFailureDomainBetaZone, "us-east-1a")}, pairs(), ebs.segments(), ""},
		"a zone of PD":            {gce, []func(*storagev1.StorageClass){parameters("type", "pd-ssd"), allowedIn(corev1.LabelTopologyZone, "us-central1-a")}, pairs("type", "pd-ssd"), gce.segments(), ""},
		"a zone of Cinder":        {cinder, []func(*storagev1.StorageClass){parameters("availability", "nova"), allowedIn(corev1.LabelTopologyZone, "nova")}, pairs("availability", "nova"), cinder.segments(), ""},
		"zones in two ways":       {ebs, []func(*storagev1.StorageClass){parameters("zone", "us-east-1a"), allowedIn(corev1.LabelTopologyZone, "us-east-1a")}, nil, nil, `storage class "fast" of in-tree driver kubernetes.io/aws-ebs cannot be translated for ebs.csi.aws.com: `},
		"zones of PD in two ways": {gce, []func(*storagev1.StorageClass){parameters("zones", "a,b"), allowedIn(corev1.LabelTopologyZone, "a")}, nil, nil, `storage class "fast" of in-tree driver kubernetes.io/gce-pd cannot be translated for pd.csi.storage.gke.io: `},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := tt.of.input(t, tt.class...)
			if in.MigratedFrom != tt.of.inTree {
				t.Errorf("migrated from %q", in.MigratedFrom)
			}
			if tt.problem != "" {
				if !strings.HasPrefix(in.ClassProblem, tt.problem) {
					t.Errorf("got %q, want %q", in.ClassProblem, tt.problem)
				}
				if got := sketch(Decide(in)); got != "refuse: "+in.ClassProblem {
					t.Errorf("a class that cannot be translated: %s", got)
				}
				return
			}
			if in.ClassProblem != "" || in.Class.Provisioner != tt.of.driver {
				t.Errorf("problem %q, provisioner %q", in.ClassProblem, in.Class.Provisioner)
			}
			if diff := cmp.Diff(tt.parameters, in.Class.Parameters); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.allowed, topology.Allowed(in.Class.AllowedTopologies), cmp.Comparer(func(a, b topology.Segment) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNotInTreeIsNotTranslated(t *testing.T) {
	ebs := takenOvers["AWS EBS"]
	for name, tt := range map[string]struct {
		settings Settings
		class    *storagev1.StorageClass
	}{
		"no class":                    {ebs.settings(), nil},
		"the CSI driver's own class":  {ebs.settings(), makeClass(func(c *storagev1.StorageClass) { c.Provisioner = ebs.driver })},
		"another in-tree driver's":    {ebs.settings(), takenOvers["GCE PD"].class()},
		"nothing that was taken over": {testSettings(), ebs.class()},
	} {
		got, from, err := translateClass(tt.settings, tt.class)
		if got != tt.class || from != "" || err != nil {
			t.Errorf("%s: got %v from %q, %v", name, got, from, err)
		}
	}
}

func TestTranslationLeavesTheCacheAlone(t *testing.T) {
	ebs := takenOvers["AWS EBS"]
	class := ebs.class(parameters("fsType", "xfs", "zone", "us-east-1a"))
	before := class.DeepCopy()
	if _, _, err := translateClass(ebs.settings(), class); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, class); diff != "" {
		t.Error(diff)
	}
	pv := completed(ebs.settings(), ebs.attempt(t), ebs.answer())
	stored := pv.DeepCopy()
	sourceOf(ebs.settings(), pv)
	if diff := cmp.Diff(stored, pv); diff != "" {
		t.Error(diff)
	}
}

func TestAnInTreeClassGetsAnInTreeVolume(t *testing.T) {
	for name, o := range takenOvers {
		t.Run(name, func(t *testing.T) {
			pv := completed(o.settings(), o.attempt(t), o.answer())
			if diff := cmp.Diff(o.source, pv.Spec.PersistentVolumeSource); diff != "" {
				t.Error(diff)
			}
			if got := pv.Annotations["pv.kubernetes.io/provisioned-by"]; got != o.inTree {
				t.Errorf("provisioned by %q", got)
			}
			want := &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: o.affinity}}}}
			if diff := cmp.Diff(want, pv.Spec.NodeAffinity); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(o.labels, pv.Labels); diff != "" {
				t.Error(diff)
			}
			source := sourceOf(o.settings(), pv)
			if source == nil || source.Driver != o.driver || source.VolumeHandle != o.kept {
				t.Errorf("read again it is %v", source)
			}
		})
	}
}

func TestTheCSIClassOfADriverThatTookOverGetsACSIVolume(t *testing.T) {
	for name, o := range takenOvers {
		in := Input{Settings: o.settings(), Claim: makeClaim(annotated("volume.kubernetes.io/storage-provisioner", o.driver)),
			Class: makeClass(func(class *storagev1.StorageClass) { class.Provisioner = o.driver })}
		pv := completed(in.Settings, sealed(in, nil), o.answer())
		if pv.Spec.CSI == nil || pv.Spec.CSI.VolumeHandle != o.handle || pv.Annotations[AnnotationProvisionedBy] != o.driver {
			t.Errorf("%s: got %v by %q", name, pv.Spec.PersistentVolumeSource, pv.Annotations[AnnotationProvisionedBy])
		}
	}
}

func TestAnAnswerThatNoInTreeVolumeCanBeIsRejected(t *testing.T) {
	ebs, gce := takenOvers["AWS EBS"], takenOvers["GCE PD"]
	for name, tt := range map[string]struct {
		of     takenOver
		change func(*csipb.Volume)
	}{
		"a zone that EBS does not have":   {ebs, func(v *csipb.Volume) { v.AccessibleTopology[0].Segments[ebs.zoneKey] = "nova" }},
		"a partition that is no number":   {ebs, func(v *csipb.Volume) { v.VolumeContext = map[string]string{"partition": "first"} }},
		"a handle that PD cannot read":    {gce, func(v *csipb.Volume) { v.VolumeId = "disk" }},
		"a zone whose region is no label": {gce, func(v *csipb.Volume) { v.AccessibleTopology[0].Segments[gce.zoneKey] = "region.-a" }},
		"zones that are no label together": {takenOvers["Cinder"], func(v *csipb.Volume) {
			for zone := range 9 {
				v.AccessibleTopology = append(v.AccessibleTopology, &csipb.Topology{Segments: pairs(takenOvers["Cinder"].zoneKey, fmt.Sprint("availability-", zone))})
			}
		}},
	} {
		attempt, answer := tt.of.attempt(t), tt.of.answer()
		tt.change(answer)
		got := sketchStep(Conclude(tt.of.settings(), attempt, Result{Volume: answer}))
		want := "reject " + answer.GetVolumeId() + ": the driver created a volume that no PersistentVolume can be made for: translate it to a volume of in-tree driver " + tt.of.inTree
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

func TestClaimsOfAnInTreeDriverAreOursIfTheySaySo(t *testing.T) {
	ebs := takenOvers["AWS EBS"]
	tests := map[string]struct {
		change []func(*corev1.PersistentVolumeClaim)
		want   string
	}{
		"migrated to us":               {nil, "create " + testVolume},
		"not migrated":                 {[]func(*corev1.PersistentVolumeClaim){without("pv.kubernetes.io/migrated-to")}, "leave: it is not assigned to this driver"},
		"migrated to another":          {[]func(*corev1.PersistentVolumeClaim){annotated("pv.kubernetes.io/migrated-to", "other")}, "leave: it is not assigned to this driver"},
		"of another in-tree one":       {[]func(*corev1.PersistentVolumeClaim){annotated("volume.kubernetes.io/storage-provisioner", "kubernetes.io/gce-pd")}, "leave: it is not assigned to this driver"},
		"migrated to us, and nobody's": {[]func(*corev1.PersistentVolumeClaim){without("volume.kubernetes.io/storage-provisioner")}, "leave: it is not assigned to this driver"},
		"assigned to us directly":      {[]func(*corev1.PersistentVolumeClaim){annotated("volume.kubernetes.io/storage-provisioner", ebs.driver), without("pv.kubernetes.io/migrated-to")}, "create " + testVolume},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := ebs.input(t)
			in.Claim = ebs.claim(tt.change...)
			if got := sketch(Decide(in)); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
	for name, provisioner := range map[string]func(*corev1.PersistentVolumeClaim){
		"an in-tree driver's claim": annotated("volume.kubernetes.io/storage-provisioner", ebs.inTree), "nobody's claim": without("volume.kubernetes.io/storage-provisioner"),
	} {
		in := makeInput(claimIs(provisioner, annotated("pv.kubernetes.io/migrated-to", testDriver))) // which took over from none
		if got := sketch(Decide(in)); got != "leave: it is not assigned to this driver" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestInTreeVolumesAreDeleted(t *testing.T) {
	for name, o := range takenOvers {
		t.Run(name, func(t *testing.T) {
			pv := completed(o.settings(), o.attempt(t), o.answer())
			pv.Status.Phase = corev1.VolumeReleased
			in := VolumeInput{Settings: o.settings(), Volume: pv}
			if diff := cmp.Diff(DeleteVolume{Handle: o.kept, Migrated: true}, DecideVolume(in)); diff != "" {
				t.Error(diff)
			}
			byAnnotation := pv.DeepCopy()
			byAnnotation.Annotations = map[string]string{"pv.kubernetes.io/migrated-to": o.driver} // made by hand, long ago
			in.Volume = byAnnotation
			if got := sketchVolume(DecideVolume(in)); got != "delete "+o.kept {
				t.Errorf("made by hand: %s", got)
			}
			byAnnotation.Annotations = nil
			if got := sketchVolume(DecideVolume(in)); got != "leave: it belongs to another driver" {
				t.Errorf("not migrated: %s", got)
			}
			in.Volume, in.Settings.InTree = pv, ""
			if got := sketchVolume(DecideVolume(in)); got != "leave: it belongs to another driver" {
				t.Errorf("of a driver that took over from none: %s", got)
			}
		})
	}
}

func TestAnInTreeVolumeThatCannotBeTranslatedIsNotDeleted(t *testing.T) {
	ebs := takenOvers["AWS EBS"]
	in := VolumeInput{Settings: ebs.settings(), Volume: completed(ebs.settings(), ebs.attempt(t), ebs.answer())}
	in.Volume.Status.Phase = corev1.VolumeReleased
	for name, source := range map[string]corev1.PersistentVolumeSource{
		"an ID nobody can read":         {AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://us-east-1a/nonsense"}},
		"another in-tree driver's":      takenOvers["GCE PD"].source,
		"nothing that was taken over":   {HostPath: &corev1.HostPathVolumeSource{Path: "/"}},
		"no ID at all":                  {AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{}},
		"in-tree, but without a source": {},
	} {
		in.Volume.Spec.PersistentVolumeSource = source
		if got, want := sketchVolume(DecideVolume(in)), "refuse: PersistentVolume \""+testVolume+"\" has no volume handle of driver ebs.csi.aws.com"; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// An in-tree object does not keep all of a handle (GCE PD's lose the project), and it still is the volume's.
func TestAStoredInTreeVolumeIsKnownAgain(t *testing.T) {
	for name, o := range takenOvers {
		t.Run(name, func(t *testing.T) {
			s, attempt := o.settings(), o.attempt(t)
			stored := completed(s, attempt, attempt.Volume)
			if !sameVolume(s, stored, completed(s, attempt, attempt.Volume)) {
				t.Error("it is not the same as itself")
			}
			if !refersTo(s, stored, o.handle) || !refersTo(s, stored, o.kept) {
				t.Error("it does not refer to the volume that it was made for")
			}
			if refersTo(s, stored, o.handle[:len(o.handle)-2]+"zz") {
				t.Error("it refers to any volume")
			}
			in := Input{Settings: s, Attempt: attempt, Stored: stored}
			if got := sketch(Decide(in)); got != "settle "+o.handle {
				t.Errorf("stored, and the claim is gone: %s", got)
			}
		})
	}
}

func TestAnInTreeVolumeThatCannotBeTranslatedRefersToNothing(t *testing.T) {
	ebs := takenOvers["AWS EBS"]
	for name, source := range map[string]corev1.PersistentVolumeSource{
		"an ID nobody can read":       {AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://us-east-1a/nonsense"}},
		"another in-tree driver's":    takenOvers["GCE PD"].source,
		"nothing that was taken over": {HostPath: &corev1.HostPathVolumeSource{Path: "/"}},
	} {
		stored := makeVolume(func(pv *corev1.PersistentVolume) { pv.Spec.PersistentVolumeSource = source })
		if refersTo(ebs.settings(), stored, ebs.handle) || sameVolume(ebs.settings(), stored, stored) {
			t.Errorf("%s: it refers to a volume", name)
		}
	}
	gce := takenOvers["GCE PD"]
	stored := completed(gce.settings(), gce.attempt(t), gce.answer())
	if refersTo(gce.settings(), stored, "not a handle of PD") {
		t.Error("it refers to a volume whose handle cannot be read")
	}
}
