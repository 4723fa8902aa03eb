package simtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Kind is a kind of objects, by its resource.
type Kind string

// The kinds that the product reads or writes.
const (
	Claims            Kind = "persistentvolumeclaims"
	Volumes           Kind = "persistentvolumes"
	Classes           Kind = "storageclasses"
	AttributesClasses Kind = "volumeattributesclasses"
	Attachments       Kind = "volumeattachments"
	Nodes             Kind = "nodes"
	CSINodes          Kind = "csinodes"
	Secrets           Kind = "secrets"
	ConfigMaps        Kind = "configmaps"
	Snapshots         Kind = "volumesnapshots"
	Contents          Kind = "volumesnapshotcontents"
)

// Resource is the kind's resource, as errors name it.
func (k Kind) Resource() schema.GroupResource {
	switch k {
	case Snapshots, Contents:
		return schema.GroupResource{Group: "snapshot.storage.k8s.io", Resource: string(k)}
	case Classes, AttributesClasses, Attachments, CSINodes:
		return schema.GroupResource{Group: "storage.k8s.io", Resource: string(k)}
	case Claims, Volumes, Nodes, Secrets, ConfigMaps:
	}
	return schema.GroupResource{Resource: string(k)}
}

// Object is any of them.
type Object interface {
	metav1.Object
	runtime.Object
}

// Event is one change of one object. Old is nil for a new one, New for one that is gone.
type Event struct {
	At       time.Time
	Old, New Object
}

// Finalizers that every claim and every volume is born with, and that others than the product take off (KEP-1151 and its kin).
const (
	FinalizerClaim  = "kubernetes.io/pvc-protection"
	FinalizerVolume = "kubernetes.io/pv-protection"
)

// Server is an API server. Objects that it hands out, and those of its Log, are never changed; those that it is given are copied.
type Server struct {
	// NewUID makes the UIDs of objects that have none; nil: they are numbered.
	NewUID func(Kind) types.UID

	mu      sync.Mutex
	version int64
	objects map[Kind]map[string]Object
	log     map[Kind][]Event
}

// NewServer makes an empty one.
func NewServer() *Server {
	return &Server{objects: map[Kind]map[string]Object{}, log: map[Kind][]Event{}}
}

// Key is the key of an object: NAMESPACE/NAME, or NAME.
func Key(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// Log is all that ever happened to objects of a kind. It only grows.
func (s *Server) Log(kind Kind) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log[kind]
}

// List is the objects of a kind, by their keys' order.
func (s *Server) List(kind Kind) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := make([]Object, 0, len(s.objects[kind]))
	for _, key := range slices.Sorted(maps.Keys(s.objects[kind])) {
		listed = append(listed, s.objects[kind][key])
	}
	return listed
}

// Find is an object, or nil.
func (s *Server) Find(kind Kind, key string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[kind][key]
}

func (s *Server) get(kind Kind, key, name string) (Object, error) {
	object, ok := s.objects[kind][key]
	if !ok {
		return nil, apierrors.NewNotFound(kind.Resource(), name)
	}
	return object, nil
}

// put stores an object, or removes it (after is nil), and says so.
func (s *Server) put(kind Kind, key string, before, after Object) {
	s.version++
	if s.objects[kind] == nil {
		s.objects[kind] = map[string]Object{}
	}
	if after == nil {
		delete(s.objects[kind], key)
		last := clone(before)
		last.SetResourceVersion(strconv.FormatInt(s.version, 10))
		s.log[kind] = append(s.log[kind], Event{At: time.Now(), Old: last})
		return
	}
	after.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.objects[kind][key] = after
	s.log[kind] = append(s.log[kind], Event{At: time.Now(), Old: before, New: after})
}

// Create stores a new object.
func (s *Server) Create(kind Kind, object Object) (Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := Key(object.GetNamespace(), object.GetName())
	if _, exists := s.objects[kind][key]; exists {
		return nil, apierrors.NewAlreadyExists(kind.Resource(), object.GetName())
	}
	created := clone(object)
	if created.GetUID() == "" {
		created.SetUID(types.UID(fmt.Sprintf("uid-%d", s.version+1)))
		if s.NewUID != nil {
			created.SetUID(s.NewUID(kind))
		}
	}
	created.SetCreationTimestamp(metav1.Now())
	created.SetDeletionTimestamp(nil)
	switch o := created.(type) {
	case *corev1.PersistentVolumeClaim:
		o.Finalizers = append(o.Finalizers, FinalizerClaim)
		o.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	case *corev1.PersistentVolume:
		o.Finalizers = append(o.Finalizers, FinalizerVolume)
		o.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
	}
	s.put(kind, key, nil, created)
	return created, nil
}

// Update replaces an object, its status excepted; with status, nothing but its status.
func (s *Server) Update(kind Kind, object Object, status bool) (Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, err := s.get(kind, Key(object.GetNamespace(), object.GetName()), object.GetName())
	if err != nil {
		return nil, err
	}
	if uid := object.GetUID(); uid != "" && uid != current.GetUID() {
		return nil, apierrors.NewConflict(kind.Resource(), object.GetName(), fmt.Errorf("UID in precondition: %s, UID in object meta: %s", uid, current.GetUID()))
	}
	return s.replace(kind, current, clone(object), status)
}

// replace is the end of updates and patches.
func (s *Server) replace(kind Kind, current, wanted Object, status bool) (Object, error) {
	name := current.GetName()
	if version := wanted.GetResourceVersion(); version != "" && version != current.GetResourceVersion() {
		return nil, apierrors.NewConflict(kind.Resource(), name, fmt.Errorf("the object has been modified"))
	}
	if wanted.GetUID() != current.GetUID() && wanted.GetUID() != "" {
		return nil, invalid(kind, name, "metadata.uid: field is immutable")
	}
	wanted.SetUID(current.GetUID())
	wanted.SetCreationTimestamp(current.GetCreationTimestamp())
	wanted.SetDeletionTimestamp(current.GetDeletionTimestamp())
	wanted.SetResourceVersion(current.GetResourceVersion())
	wanted = divide(current, wanted, status)
	if old, ok := current.(*corev1.PersistentVolumeClaim); ok && old.Spec.VolumeName != "" {
		if claim, ok := wanted.(*corev1.PersistentVolumeClaim); ok && claim.Spec.VolumeName != old.Spec.VolumeName {
			return nil, invalid(kind, name, "spec: Forbidden: spec is immutable after creation")
		}
	}
	for _, finalizer := range wanted.GetFinalizers() {
		if current.GetDeletionTimestamp() != nil && !slices.Contains(current.GetFinalizers(), finalizer) {
			return nil, invalid(kind, name, "metadata.finalizers: no new finalizers can be added if the object is being deleted")
		}
	}
	key := Key(current.GetNamespace(), name)
	switch {
	case current.GetDeletionTimestamp() != nil && len(wanted.GetFinalizers()) == 0:
		s.put(kind, key, wanted, nil)
		return wanted, nil
	case equality.Semantic.DeepEqual(current, wanted):
		return current, nil // nothing is written, and nobody hears of it
	}
	s.put(kind, key, current, wanted)
	return wanted, nil
}

// divide keeps what the endpoint that was used does not change.
func divide(current, wanted Object, status bool) Object {
	switch old := current.(type) {
	case *corev1.PersistentVolumeClaim:
		if claim, ok := wanted.(*corev1.PersistentVolumeClaim); ok && !status {
			claim.Status = old.Status
		} else if ok {
			kept := old.DeepCopy()
			kept.Status = claim.Status
			return kept
		}
	case *corev1.PersistentVolume:
		if pv, ok := wanted.(*corev1.PersistentVolume); ok && !status {
			pv.Status = old.Status
		} else if ok {
			kept := old.DeepCopy()
			kept.Status = pv.Status
			return kept
		}
	}
	return wanted
}

// Patch applies a patch.
func (s *Server) Patch(kind Kind, key, name string, patchType types.PatchType, patch []byte, status bool) (Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, err := s.get(kind, key, name)
	if err != nil {
		return nil, err
	}
	wanted, err := apply(current, patchType, patch)
	if err != nil {
		return nil, invalid(kind, name, err.Error())
	}
	return s.replace(kind, current, wanted, status)
}

// Delete deletes an object, or marks it if somebody's finalizer holds it.
func (s *Server) Delete(kind Kind, key, name string, options metav1.DeleteOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, err := s.get(kind, key, name)
	if err != nil {
		return err
	}
	if p := options.Preconditions; p != nil && p.UID != nil && *p.UID != current.GetUID() {
		return apierrors.NewConflict(kind.Resource(), name, fmt.Errorf("UID in precondition: %s, UID in object meta: %s", *p.UID, current.GetUID()))
	}
	switch {
	case len(current.GetFinalizers()) == 0:
		s.put(kind, key, current, nil)
	case current.GetDeletionTimestamp() == nil:
		marked := clone(current)
		now := metav1.Now()
		marked.SetDeletionTimestamp(&now)
		s.put(kind, key, current, marked)
	}
	return nil
}

// Change changes an object as somebody else does who has just read it. It reports whether there is one.
func Change[T Object](s *Server, kind Kind, key string, change func(T)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, ok := s.objects[kind][key].(T)
	if !ok {
		return false
	}
	changed, _ := clone(current).(T)
	change(changed)
	if current.GetDeletionTimestamp() != nil && len(changed.GetFinalizers()) == 0 {
		s.put(kind, key, changed, nil)
	} else if !equality.Semantic.DeepEqual(current, changed) {
		s.put(kind, key, current, changed)
	}
	return true
}

func clone(object Object) Object {
	copied, _ := object.DeepCopyObject().(Object)
	return copied
}

func invalid(kind Kind, name, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: fmt.Sprintf("%s %q is invalid: %s", kind.Resource(), name, message),
		Details: &metav1.StatusDetails{Group: kind.Resource().Group, Kind: string(kind), Name: name},
	}}
}
