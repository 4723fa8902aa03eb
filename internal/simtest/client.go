package simtest

import (
	"context"
	"fmt"
	"reflect"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	snapshotclientv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/typed/volumesnapshot/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	storagev1client "k8s.io/client-go/kubernetes/typed/storage/v1"
)

// Call is a request on its way to the API server.
type Call struct {
	Verb string // get, create, update, patch, delete
	Kind Kind
	Key  string
	// Object is what is to be created or to replace what is there; Patch what is to be changed. Either may be nil.
	Object Object
	Patch  []byte
	Status bool // it is about the status alone

	// Do does it. The answer is nil for a deletion.
	Do func() (Object, error)
}

// Writes reports whether the call is to change something.
func (c *Call) Writes() bool { return c.Verb != "get" }

// String names the call: "patch persistentvolumes pvc-1".
func (c *Call) String() string {
	if c.Status {
		return fmt.Sprintf("%s status of %s %s", c.Verb, c.Kind, c.Key)
	}
	return fmt.Sprintf("%s %s %s", c.Verb, c.Kind, c.Key)
}

// Gate decides what becomes of a client's calls: it does one, or not, and answers.
type Gate func(ctx context.Context, call *Call) (Object, error)

// Client is a client of a Server. It has what the product uses; anything else is a nil dereference.
type Client struct {
	kubernetes.Interface
	server *Server
	gate   Gate
}

// NewClient makes a client.
func NewClient(server *Server, gate Gate) *Client { return &Client{server: server, gate: gate} }

// Now is a gate that does each call at once.
func Now(_ context.Context, call *Call) (Object, error) { return call.Do() }

// verbs are what can be done with the objects of one kind in one namespace.
type verbs[T Object] struct {
	client    *Client
	kind      Kind
	namespace string
}

func (v verbs[T]) call(ctx context.Context, call *Call) (T, error) {
	call.Kind = v.kind
	answer, err := v.client.gate(ctx, call)
	if err != nil || answer == nil {
		var none T // a client answers with an empty object, not with nil
		blank, _ := reflect.TypeAssert[T](reflect.New(reflect.TypeOf(none).Elem()))
		return blank, err
	}
	object, _ := clone(answer).(T)
	return object, nil
}

// Get reads an object.
func (v verbs[T]) Get(ctx context.Context, name string, _ metav1.GetOptions) (T, error) {
	key := Key(v.namespace, name)
	return v.call(ctx, &Call{Verb: "get", Key: key, Do: func() (Object, error) {
		v.client.server.mu.Lock()
		defer v.client.server.mu.Unlock()
		return v.client.server.get(v.kind, key, name)
	}})
}

// Create makes an object.
func (v verbs[T]) Create(ctx context.Context, object T, _ metav1.CreateOptions) (T, error) {
	sent := clone(object)
	sent.SetNamespace(v.namespace)
	return v.call(ctx, &Call{Verb: "create", Key: Key(v.namespace, object.GetName()), Object: sent, Do: func() (Object, error) {
		return v.client.server.Create(v.kind, sent)
	}})
}

// Update replaces an object, but for its status.
func (v verbs[T]) Update(ctx context.Context, object T, _ metav1.UpdateOptions) (T, error) {
	return v.update(ctx, object, false)
}

// UpdateStatus replaces an object's status.
func (v verbs[T]) UpdateStatus(ctx context.Context, object T, _ metav1.UpdateOptions) (T, error) {
	return v.update(ctx, object, true)
}

func (v verbs[T]) update(ctx context.Context, object T, status bool) (T, error) {
	sent := clone(object)
	return v.call(ctx, &Call{Verb: "update", Key: Key(v.namespace, object.GetName()), Object: sent, Do: func() (Object, error) {
		return v.client.server.Update(v.kind, sent, status)
	}})
}

// Patch changes an object.
func (v verbs[T]) Patch(ctx context.Context, name string, patchType types.PatchType, patch []byte, _ metav1.PatchOptions, subresources ...string) (T, error) {
	key := Key(v.namespace, name)
	return v.call(ctx, &Call{Verb: "patch", Key: key, Patch: patch, Status: len(subresources) > 0, Do: func() (Object, error) {
		return v.client.server.Patch(v.kind, key, name, patchType, patch, len(subresources) > 0)
	}})
}

// Delete deletes an object.
func (v verbs[T]) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	key := Key(v.namespace, name)
	_, err := v.call(ctx, &Call{Verb: "delete", Key: key, Do: func() (Object, error) {
		return nil, v.client.server.Delete(v.kind, key, name, options)
	}})
	return err
}

// The rest of a typed client's methods, one level deeper, so that the verbs hide those that they have.
type (
	restOfClaims struct {
		corev1client.PersistentVolumeClaimInterface
	}
	restOfVolumes struct {
		corev1client.PersistentVolumeInterface
	}
	restOfNodes      struct{ corev1client.NodeInterface }
	restOfSecrets    struct{ corev1client.SecretInterface }
	restOfConfigMaps struct {
		corev1client.ConfigMapInterface
	}
	restOfCSINodes struct {
		storagev1client.CSINodeInterface
	}
	restOfClasses struct {
		storagev1client.StorageClassInterface
	}
	restOfAttributesClasses struct {
		storagev1client.VolumeAttributesClassInterface
	}
	restOfSnapshots struct {
		snapshotclientv1.VolumeSnapshotInterface
	}
	restOfContents struct {
		snapshotclientv1.VolumeSnapshotContentInterface
	}
)

type core struct {
	corev1client.CoreV1Interface
	client *Client
}

// CoreV1 is the core API.
func (c *Client) CoreV1() corev1client.CoreV1Interface { return core{client: c} }

func (c core) PersistentVolumeClaims(namespace string) corev1client.PersistentVolumeClaimInterface {
	return struct {
		verbs[*corev1.PersistentVolumeClaim]
		restOfClaims
	}{verbs: verbs[*corev1.PersistentVolumeClaim]{c.client, Claims, namespace}}
}

func (c core) PersistentVolumes() corev1client.PersistentVolumeInterface {
	return struct {
		verbs[*corev1.PersistentVolume]
		restOfVolumes
	}{verbs: verbs[*corev1.PersistentVolume]{client: c.client, kind: Volumes}}
}

func (c core) Nodes() corev1client.NodeInterface {
	return struct {
		verbs[*corev1.Node]
		restOfNodes
	}{verbs: verbs[*corev1.Node]{client: c.client, kind: Nodes}}
}

func (c core) Secrets(namespace string) corev1client.SecretInterface {
	return struct {
		verbs[*corev1.Secret]
		restOfSecrets
	}{verbs: verbs[*corev1.Secret]{c.client, Secrets, namespace}}
}

func (c core) ConfigMaps(namespace string) corev1client.ConfigMapInterface {
	return struct {
		verbs[*corev1.ConfigMap]
		restOfConfigMaps
	}{verbs: verbs[*corev1.ConfigMap]{c.client, ConfigMaps, namespace}}
}

type storage struct {
	storagev1client.StorageV1Interface
	client *Client
}

// StorageV1 is the storage API.
func (c *Client) StorageV1() storagev1client.StorageV1Interface { return storage{client: c} }

func (s storage) CSINodes() storagev1client.CSINodeInterface {
	return struct {
		verbs[*storagev1.CSINode]
		restOfCSINodes
	}{verbs: verbs[*storagev1.CSINode]{client: s.client, kind: CSINodes}}
}

func (s storage) StorageClasses() storagev1client.StorageClassInterface {
	return struct {
		verbs[*storagev1.StorageClass]
		restOfClasses
	}{verbs: verbs[*storagev1.StorageClass]{client: s.client, kind: Classes}}
}

func (s storage) VolumeAttributesClasses() storagev1client.VolumeAttributesClassInterface {
	return struct {
		verbs[*storagev1.VolumeAttributesClass]
		restOfAttributesClasses
	}{verbs: verbs[*storagev1.VolumeAttributesClass]{client: s.client, kind: AttributesClasses}}
}

// authorization is the API that tells what one may do.
type authorization struct {
	authorizationv1client.AuthorizationV1Interface
	authorizationv1client.SelfSubjectAccessReviewInterface
}

// AuthorizationV1 says that everything is granted. Whoever wants it otherwise has the Gate refuse the write itself, which then comes as a surprise.
func (c *Client) AuthorizationV1() authorizationv1client.AuthorizationV1Interface {
	return authorization{}
}

func (a authorization) SelfSubjectAccessReviews() authorizationv1client.SelfSubjectAccessReviewInterface {
	return a
}

func (authorization) Create(_ context.Context, review *authorizationv1.SelfSubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SelfSubjectAccessReview, error) {
	answer := review.DeepCopy()
	answer.Status.Allowed = true
	return answer, nil
}

// snapshots is the API of snapshots.
type snapshots struct {
	snapshotclient.Interface
	snapshotclientv1.SnapshotV1Interface
	client *Client
}

// Snapshots is the client of the API of snapshots.
func (c *Client) Snapshots() snapshotclient.Interface { return snapshots{client: c} }

func (s snapshots) SnapshotV1() snapshotclientv1.SnapshotV1Interface { return s }

func (s snapshots) VolumeSnapshots(namespace string) snapshotclientv1.VolumeSnapshotInterface {
	return struct {
		verbs[*snapshotv1.VolumeSnapshot]
		restOfSnapshots
	}{verbs: verbs[*snapshotv1.VolumeSnapshot]{s.client, Snapshots, namespace}}
}

func (s snapshots) VolumeSnapshotContents() snapshotclientv1.VolumeSnapshotContentInterface {
	return struct {
		verbs[*snapshotv1.VolumeSnapshotContent]
		restOfContents
	}{verbs: verbs[*snapshotv1.VolumeSnapshotContent]{client: s.client, kind: Contents}}
}
