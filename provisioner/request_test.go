package provisioner

import (
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/topology"
)

func TestVolumeNames(t *testing.T) {
	tests := map[string]struct {
		prefix string
		length int
		want   string
		err    string
	}{
		"the whole UID":       {"pvc", -1, testVolume, ""},
		"all digits":          {"pvc", 32, "pvc-9f2c1a340000400080000123456789ab", ""},
		"some digits":         {"vol", 8, "vol-9f2c1a34", ""},
		"none":                {"pvc", 0, "", "must be -1 (the whole UID) or 1 to 32, not 0"},
		"more than there are": {"pvc", 33, "", "not 33"},
		"negative":            {"pvc", -2, "", "not -2"},
		"no prefix":           {"", -1, "", "must not be empty"},
		"not a name":          {"My_Volume", -1, "", "My_Volume"},
		"a prefix too long":   {strings.Repeat("a", 230), -1, "", "no more than 253"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := testSettings()
			s.NamePrefix, s.NameUUIDLength = tt.prefix, tt.length
			err := s.Validate()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if got := s.VolumeName(testUID); err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	s := testSettings()
	s.NameUUIDLength = 32
	if got := s.VolumeName("short"); got != "pvc-short" {
		t.Errorf("a UID that is no UID gives %q", got)
	}
}

func mount(mode csipb.VolumeCapability_AccessMode_Mode, fsType string, flags ...string) *csipb.VolumeCapability {
	return &csipb.VolumeCapability{
		AccessMode: &csipb.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csipb.VolumeCapability_Mount{Mount: &csipb.VolumeCapability_MountVolume{FsType: fsType, MountFlags: flags}},
	}
}

func TestSealedRequest(t *testing.T) {
	const (
		single = csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
		multi  = csipb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
		only   = csipb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
		many   = csipb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
		reader = csipb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	)
	modes := func(modes ...corev1.PersistentVolumeAccessMode) func(*corev1.PersistentVolumeClaim) {
		return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.AccessModes = modes }
	}
	block := func(claim *corev1.PersistentVolumeClaim) {
		mode := corev1.PersistentVolumeBlock
		claim.Spec.VolumeMode = &mode
	}
	singleNode := func(s *Settings) { s.Driver.SingleNodeMultiWriter = true }
	none := map[string]string{}
	tests := map[string]struct {
		settings     func(*Settings)
		claim        *corev1.PersistentVolumeClaim
		class        *storagev1.StorageClass
		parameters   map[string]string
		capabilities []*csipb.VolumeCapability
	}{
		"plain": {nil, makeClaim(), makeClass(), none, []*csipb.VolumeCapability{mount(single, "")}},
		"every access mode, a capability each": {nil, makeClaim(modes(corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany)), makeClass(), none,
			[]*csipb.VolumeCapability{mount(single, ""), mount(reader, ""), mount(many, "")}},
		"one Pod only": {nil, makeClaim(modes(corev1.ReadWriteOncePod)), makeClass(), none, []*csipb.VolumeCapability{mount(single, "")}},
		"a driver that tells them apart": {singleNode, makeClaim(modes(corev1.ReadWriteOnce, corev1.ReadWriteOncePod)), makeClass(), none,
			[]*csipb.VolumeCapability{mount(multi, ""), mount(only, "")}},
		"file system and mount options": {nil, makeClaim(), makeClass(parameters("csi.storage.k8s.io/fstype", "xfs", "tier", "gold"),
			func(c *storagev1.StorageClass) { c.MountOptions = []string{"noatime"} }),
			map[string]string{"tier": "gold"}, []*csipb.VolumeCapability{mount(single, "xfs", "noatime")}},
		"the older spelling is the driver's, too": {nil, makeClaim(), makeClass(parameters("FSType", "xfs")), map[string]string{"FSType": "xfs"},
			[]*csipb.VolumeCapability{mount(single, "xfs")}},
		"default file system": {func(s *Settings) { s.DefaultFSType = "ext4" }, makeClaim(), makeClass(), none, []*csipb.VolumeCapability{mount(single, "ext4")}},
		"an empty file system is none": {func(s *Settings) { s.DefaultFSType = "ext4" }, makeClaim(), makeClass(parameters("csi.storage.k8s.io/fstype", "")), none,
			[]*csipb.VolumeCapability{mount(single, "ext4")}},
		"block": {func(s *Settings) { s.DefaultFSType = "ext4" }, makeClaim(block), makeClass(), none, []*csipb.VolumeCapability{{
			AccessMode: &csipb.VolumeCapability_AccessMode{Mode: single},
			AccessType: &csipb.VolumeCapability_Block{Block: &csipb.VolumeCapability_BlockVolume{}}}}},
		"no access modes": {nil, makeClaim(modes()), makeClass(), none, nil},
		"names for the driver": {func(s *Settings) { s.ExtraMetadata = true }, makeClaim(), makeClass(parameters("tier", "gold")), map[string]string{
			"tier": "gold", "csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "ns", "csi.storage.k8s.io/pv/name": testVolume},
			[]*csipb.VolumeCapability{mount(single, "")}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := testSettings()
			if tt.settings != nil {
				tt.settings(&s)
			}
			onNode("n")(tt.claim)
			attempt := sealed(Input{Settings: s, Claim: tt.claim, Class: tt.class}, &topology.Requirement{Requisite: []topology.Segment{zone("a")}})
			want := &csipb.CreateVolumeRequest{
				Name:               testVolume,
				CapacityRange:      &csipb.CapacityRange{RequiredBytes: 1 << 30},
				Parameters:         tt.parameters,
				VolumeCapabilities: tt.capabilities,
				AccessibilityRequirements: &csipb.TopologyRequirement{
					Requisite: []*csipb.Topology{{Segments: map[string]string{"zone": "a"}}}},
			}
			if diff := cmp.Diff(want, attempt.Request, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if attempt.SelectedNode != "n" || attempt.Class != "fast" {
				t.Errorf("got node %q, class %q", attempt.SelectedNode, attempt.Class)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		class *storagev1.StorageClass
		want  string
	}{
		"a reserved parameter nobody knows": {makeClaim(), makeClass(parameters("csi.storage.k8s.io/pvc/name", "x")), `"csi.storage.k8s.io/pvc/name" is reserved`},
		"the file system twice":             {makeClaim(), makeClass(parameters("csi.storage.k8s.io/fstype", "xfs", "fstype", "xfs")), "given twice"},
		"the file system in two spellings":  {makeClaim(), makeClass(parameters("fsType", "xfs", "fstype", "xfs")), "given twice"},
		"an access mode of the future":      {makeClaim(func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{"X"} }), makeClass(), `access mode "X" is unknown`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := seal(Input{Settings: testSettings(), Claim: tt.claim, Class: tt.class}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestStoredVolume(t *testing.T) {
	s := testSettings()
	s.PublishReadOnly = true
	claim := makeClaim(func(c *corev1.PersistentVolumeClaim) {
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
	})
	class := makeClass(parameters("csi.storage.k8s.io/fstype", "xfs"), func(c *storagev1.StorageClass) { c.MountOptions = []string{"ro"} })
	attempt := sealed(Input{Settings: s, Claim: claim, Class: class}, nil)
	mode := corev1.PersistentVolumeFilesystem
	want := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: testVolume,
			Annotations: map[string]string{
				"pv.kubernetes.io/provisioned-by":                            testDriver,
				"volume.kubernetes.io/provisioner-deletion-secret-name":      "",
				"volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
			},
			Finalizers: []string{"external-provisioner.volume.kubernetes.io/finalizer"},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              "fast",
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany},
			MountOptions:                  []string{"ro"},
			VolumeMode:                    &mode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")},
			ClaimRef: &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "ns", Name: "data",
				UID: testUID, ResourceVersion: "7"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: testDriver, VolumeHandle: "h", FSType: "xfs", ReadOnly: true,
				VolumeAttributes: map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "1-2-" + testDriver, "color": "blue"},
			}},
			NodeAffinity: topology.NodeAffinity([]topology.Segment{zone("a")}),
		},
	}
	answer := &csipb.Volume{VolumeId: "h", CapacityBytes: 2 << 30, VolumeContext: map[string]string{"color": "blue"},
		AccessibleTopology: []*csipb.Topology{{Segments: map[string]string{"zone": "a"}}}}
	if diff := cmp.Diff(want, completed(s, attempt, answer)); diff != "" {
		t.Error(diff)
	}
}

func TestStoredVolumeVariants(t *testing.T) {
	answer := func(changes ...func(*csipb.Volume)) *csipb.Volume {
		v := &csipb.Volume{VolumeId: "h"}
		for _, change := range changes {
			change(v)
		}
		return v
	}
	pv := completed(testSettings(), makeAttempt(), answer())
	if got := pv.Spec.Capacity[corev1.ResourceStorage]; got.Value() != 1<<30 {
		t.Errorf("a volume of unknown size has capacity %s, want what was asked for", got.String())
	}
	if pv.Spec.CSI.ReadOnly {
		t.Error("read-only without the flag")
	}
	empty := completed(testSettings(), makeAttempt(), answer(func(v *csipb.Volume) { v.AccessibleTopology = []*csipb.Topology{{}, nil} }))
	if empty.Spec.NodeAffinity != nil {
		t.Errorf("empty segments became %v", empty.Spec.NodeAffinity)
	}
	s := testSettings()
	s.Driver.Topology = false
	zoned := completed(s, makeAttempt(), answer(func(v *csipb.Volume) {
		v.AccessibleTopology = []*csipb.Topology{{Segments: map[string]string{"zone": "a"}}}
	}))
	if zoned.Spec.NodeAffinity != nil {
		t.Errorf("a driver without topology made %v", zoned.Spec.NodeAffinity)
	}
	attempt := sealed(Input{Settings: testSettings(), Claim: makeClaim(), Class: makeClass(retain)}, nil)
	if kept := completed(testSettings(), attempt, answer()); len(kept.Finalizers) > 0 || kept.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("a retained volume has finalizers %v and policy %s", kept.Finalizers, kept.Spec.PersistentVolumeReclaimPolicy)
	}
}

func TestOnlyWhatNobodyMayWriteIsReadOnly(t *testing.T) {
	const only, once = corev1.ReadOnlyMany, corev1.ReadWriteOnce
	for name, tt := range map[string]struct {
		modes []corev1.PersistentVolumeAccessMode
		flag  bool
		want  bool
	}{
		"read by many":                     {[]corev1.PersistentVolumeAccessMode{only}, true, true},
		"read by many, without the flag":   {[]corev1.PersistentVolumeAccessMode{only}, false, false},
		"read by many, or written by one":  {[]corev1.PersistentVolumeAccessMode{only, once}, true, false},
		"written by one":                   {[]corev1.PersistentVolumeAccessMode{once}, true, false},
		"used in no way that anybody said": {nil, true, false},
	} {
		in := makeInput(func(in *Input) { in.Settings.PublishReadOnly, in.Claim.Spec.AccessModes = tt.flag, tt.modes })
		if got := sealed(in, nil).Template.Spec.CSI.ReadOnly; got != tt.want {
			t.Errorf("%s: read-only is %v", name, got)
		}
	}
}

func TestSameVolume(t *testing.T) {
	now := metav1.Now()
	wanted := makeVolume()
	tests := map[string]struct {
		change func(*corev1.PersistentVolume)
		want   bool
	}{
		"itself":          {func(*corev1.PersistentVolume) {}, true},
		"bound meanwhile": {func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeBound; pv.ResourceVersion = "9" }, true},
		"another volume":  {func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeHandle = "x" }, false},
		"another driver":  {func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "x" }, false},
		"another claim":   {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "x" }, false},
		"for nobody":      {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }, false},
		"not CSI":         {func(pv *corev1.PersistentVolume) { pv.Spec.CSI = nil }, false},
		"on its way out":  {func(pv *corev1.PersistentVolume) { pv.DeletionTimestamp = &now }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sameVolume(testSettings(), makeVolume(tt.change), wanted); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
