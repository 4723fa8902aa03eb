package provisioner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestWhatClaimsAreFoundBy(t *testing.T) {
	const class, attributes, source, protected = indexPendingByClass, indexPendingByAttributesClass, indexPendingBySource, indexProtected
	tests := map[string]struct {
		object any
		want   map[string][]string
	}{
		"a claim that waits": {makeClaim(), map[string][]string{class: {"fast"}}},
		"its class in the annotation": {makeClaim(annotated(corev1.BetaStorageClassAnnotation, "slow"), func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil }),
			map[string][]string{class: {"slow"}}},
		"with attributes":                      {makeClaim(withAttributes("gold")), map[string][]string{class: {"fast"}, attributes: {"gold"}}},
		"with attributes that are none":        {makeClaim(withAttributes("")), map[string][]string{class: {"fast"}}},
		"from a snapshot":                      {makeClaim(fromSnapshot), map[string][]string{class: {"fast"}, source: {"VolumeSnapshot ns/snap"}}},
		"from a claim":                         {makeClaim(fromClaim), map[string][]string{class: {"fast"}, source: {"PersistentVolumeClaim ns/source"}}},
		"from a snapshot in another namespace": {makeClaim(fromFarSnapshot), map[string][]string{class: {"fast"}, source: {"VolumeSnapshot far/snap", "grants of far"}}},
		"to be filled by a populator":          {makeClaim(fromPopulator), map[string][]string{class: {"fast"}, source: {"volume populator ns/novels"}}},
		"that is being deleted":                {makeClaim(fromSnapshot, deleting), map[string][]string{class: {"fast"}, source: {"VolumeSnapshot ns/snap"}}},
		"with a volume":                        {makeClaim(fromSnapshot, withAttributes("gold"), boundTo("x")), nil},
		"of another driver":                    {makeClaim(fromSnapshot, withAttributes("gold"), annotated("volume.kubernetes.io/storage-provisioner", "other")), nil},
		"a source":                             {makeSource(markedClaim), map[string][]string{protected: {"protected"}}},
		"a source that is not protected":       {makeSource(), nil},
		"a claim that waits and is a source":   {makeClaim(markedClaim), map[string][]string{class: {"fast"}, protected: {"protected"}}},
		"not a claim":                          {makeVolume(), nil},
	}
	c := makeController(t, fake.NewClientset(), func(config *Config) { config.Settings.AttributesClasses = true })
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := map[string][]string{}
			for index, of := range c.indexers() {
				values, err := of(tt.object)
				if err != nil {
					t.Error(err)
				}
				if len(values) > 0 {
					got[index] = values
				}
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWithoutAttributesClassesNobodyIsFoundByThem(t *testing.T) {
	c := makeController(t, fake.NewClientset())
	if got, err := c.pendingByAttributesClass(makeClaim(withAttributes("gold"))); len(got) > 0 || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAttachmentsAreFoundByTheirVolume(t *testing.T) {
	of := func(pv *string) *storagev1.VolumeAttachment {
		return &storagev1.VolumeAttachment{Spec: storagev1.VolumeAttachmentSpec{Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: pv}}}
	}
	for name, tt := range map[string]struct {
		object any
		want   []string
	}{
		"of a volume":         {of(new("pv")), []string{"pv"}},
		"of an inline volume": {of(nil), nil},
		"not an attachment":   {makeClaim(), nil},
	} {
		got, err := attachmentsByVolume(tt.object)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}
