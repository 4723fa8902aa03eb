package provisioner

import (
	"fmt"
	"strings"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
)

// Names that are stored in objects. They are the established provisioner's, because volumes outlive whoever made them.
const (
	// AnnotationProvisionedBy on a volume names the driver that made it.
	AnnotationProvisionedBy = "pv.kubernetes.io/provisioned-by"
	// AnnotationDeletionSecretName and AnnotationDeletionSecretNamespace on a volume name the secret for DeleteVolume; empty
	// means none.
	AnnotationDeletionSecretName      = "volume.kubernetes.io/provisioner-deletion-secret-name"
	AnnotationDeletionSecretNamespace = "volume.kubernetes.io/provisioner-deletion-secret-namespace"
	// AnnotationModifySecretName and AnnotationModifySecretNamespace on a volume name the secret for ControllerModifyVolume, which the
	// resizer calls; there only if the class gives one.
	AnnotationModifySecretName      = "volume.kubernetes.io/controller-modify-secret-name"
	AnnotationModifySecretNamespace = "volume.kubernetes.io/controller-modify-secret-namespace"
	// AnnotationMigratedTo on a claim or volume of an in-tree driver names the CSI driver that took over.
	AnnotationMigratedTo = "pv.kubernetes.io/migrated-to"
	// FinalizerVolume keeps a volume's object until the driver has deleted the volume behind it.
	FinalizerVolume = "external-provisioner.volume.kubernetes.io/finalizer"
	// AttributeIdentity in a volume's attributes tells which process made it. Nothing reads it.
	AttributeIdentity = "storage.kubernetes.io/csiProvisionerIdentity"
)

// Settings is what every decision depends on and no event changes.
type Settings struct {
	Driver            csi.Driver
	Identity          string // AttributeIdentity of the volumes we make
	NamePrefix        string // --volume-name-prefix
	NameUUIDLength    int    // --volume-name-uuid-length; -1: the whole UID with its dashes
	DefaultFSType     string // --default-fstype; empty: none is sent
	StrictTopology    bool   // --strict-topology
	ImmediateTopology bool   // --immediate-topology
	ExtraMetadata     bool   // --extra-create-metadata
	PublishReadOnly   bool   // --controller-publish-readonly
	TopologyLimit     int    // --topology-limit: segments in a request at most; 0: no limit

	// PreventModeConversion keeps snapshots from becoming volumes of another mode (--prevent-volume-mode-conversion).
	PreventModeConversion bool
	// CrossNamespace lets a claim be made from a source in another namespace that grants it (gate CrossNamespaceVolumeDataSource).
	CrossNamespace bool
	// AttributesClasses: volume attributes classes are looked at (gate VolumeAttributesClass, and the API server has them).
	AttributesClasses bool
	// Node is the node that this process provisions for, in distributed mode.
	Node Node
	// InTree is the in-tree driver whose volumes the CSI driver has taken over; empty: none.
	InTree string
}

// maxUUIDLength is the number of hexadecimal digits of a UID.
const maxUUIDLength = 32

// Validate reports settings that could not make a valid volume name. The API server's limit for the name of a volume is 253 characters of
// a DNS subdomain.
func (s Settings) Validate() error {
	if s.NamePrefix == "" {
		return fmt.Errorf("--volume-name-prefix must not be empty: volumes are named PREFIX-UID")
	}
	if s.NameUUIDLength != -1 && (s.NameUUIDLength < 1 || s.NameUUIDLength > maxUUIDLength) {
		return fmt.Errorf("--volume-name-uuid-length must be -1 (the whole UID) or 1 to %d, not %d", maxUUIDLength, s.NameUUIDLength)
	}
	example := s.VolumeName("ffffffff-ffff-ffff-ffff-ffffffffffff")
	if problems := validation.IsDNS1123Subdomain(example); len(problems) > 0 {
		return fmt.Errorf("--volume-name-prefix %q makes volume names like %q: %s", s.NamePrefix, example, strings.Join(problems, "; "))
	}
	return nil
}

// VolumeName is the name of a claim's PersistentVolume, and the CSI name of its volume. It is the same at each attempt, which makes
// creation repeatable (CSI spec, CreateVolumeRequest.name).
func (s Settings) VolumeName(claim types.UID) string {
	if s.NameUUIDLength == -1 {
		return s.NamePrefix + "-" + string(claim)
	}
	digits := strings.ReplaceAll(string(claim), "-", "")
	return s.NamePrefix + "-" + digits[:min(s.NameUUIDLength, len(digits))]
}

// ClaimKey identifies one claim, not its name: a claim that was deleted and made again is another one.
type ClaimKey struct {
	Namespace, Name string
	UID             types.UID
}

// String is the form of log lines.
func (k ClaimKey) String() string { return k.Namespace + "/" + k.Name + " (" + string(k.UID) + ")" }

func keyOf(claim *corev1.PersistentVolumeClaim) ClaimKey {
	return ClaimKey{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
}

// Attempt is one try to create a claim's volume, from the moment it is decided until its result is stored or undone. Everything
// that the request and the PersistentVolume are made from is settled when the attempt begins: while the outcome is unknown
// the same request is repeated, whatever happens to the claim, its class or its nodes meanwhile.
type Attempt struct {
	Claim        *corev1.ObjectReference    // who the volume is for
	Class        string                     // name of the storage class
	SelectedNode string                     // empty for Immediate binding
	MigratedFrom string                     // in-tree driver of the class, whose kind of object the volume gets; empty: none
	Source       datasource.Reference       // what the volume is made from
	Secret       *corev1.SecretReference    // for the driver; nil: none. It is read at each call and kept nowhere
	Request      *csipb.CreateVolumeRequest // sealed: never changed, and without secrets
	Template     *corev1.PersistentVolume   // the volume's object, lacking what the driver's answer tells; never changed

	// Volume is the driver's answer, once it is known. From then on the attempt only writes the object, or cleans up.
	Volume *csipb.Volume
	// Unwanted says why Volume is to be deleted instead of stored; empty while it is wanted.
	Unwanted string

	began     time.Time // of the first call, for metrics
	unwritten time.Time // of the first write of the object that failed
	unread    time.Time // of the first read before a clean-up that failed; zero: the last one did not
	// maybeWritten: the last write of the object had no answer, so it may have been done.
	maybeWritten bool
	// unsure: a call of it had an unknown outcome, so a volume may exist, whatever a later call fails with.
	unsure bool
	// condemned says why the driver was asked to delete Volume; empty: it was not. From then on it is never stored, whatever the claim becomes.
	condemned string
	// restored: a leader before began it, and nobody knows how far that one came. Its volume may have been stored and used, and people may have
	// taken the object away since.
	restored bool
}
