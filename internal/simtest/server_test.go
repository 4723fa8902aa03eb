package simtest

import (
	"context"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

func makeVolume(t *testing.T, client corev1client.PersistentVolumeInterface, finalizers ...string) *corev1.PersistentVolume {
	t.Helper()
	made, err := client.Create(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv", Finalizers: finalizers}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAWriteThatNamesAnOldVersionConflicts(t *testing.T) {
	client := NewClient(NewServer(), Now).CoreV1().PersistentVolumes()
	old := makeVolume(t, client)
	if _, err := client.Create(t.Context(), old, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("made twice: %v", err)
	}
	changed := old.DeepCopy()
	changed.Labels = map[string]string{"a": "b"}
	changed.Status.Phase = corev1.VolumeBound
	stored, err := client.Update(t.Context(), changed, metav1.UpdateOptions{})
	if err != nil || stored.ResourceVersion == old.ResourceVersion || stored.Status.Phase != corev1.VolumePending {
		t.Fatalf("got %v, %v", stored, err)
	}
	if _, err := client.Update(t.Context(), changed, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an old version was written: %v", err)
	}
	if stored, err = client.UpdateStatus(t.Context(), func() *corev1.PersistentVolume { stored.Status.Phase = corev1.VolumeBound; return stored }(), metav1.UpdateOptions{}); err != nil ||
		stored.Status.Phase != corev1.VolumeBound || stored.Labels["a"] != "b" {
		t.Errorf("got %v, %v", stored, err)
	}
}

func TestFinalizersKeepAnObject(t *testing.T) {
	server := NewServer()
	client := NewClient(server, Now).CoreV1().PersistentVolumes()
	made := makeVolume(t, client, "example.com/mine")
	other := types.UID("other")
	if err := client.Delete(t.Context(), "pv", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("another object was deleted: %v", err)
	}
	if err := client.Delete(t.Context(), "pv", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID}}); err != nil {
		t.Fatal(err)
	}
	patch := func(finalizers string) error {
		_, err := client.Patch(t.Context(), "pv", types.StrategicMergePatchType, []byte(`{"metadata":{`+finalizers+`}}`), metav1.PatchOptions{})
		return err
	}
	if err := patch(`"finalizers":["example.com/new"]`); !apierrors.IsInvalid(err) {
		t.Errorf("a finalizer was added to an object that is being deleted: %v", err)
	}
	if err := patch(`"$deleteFromPrimitiveList/finalizers":["example.com/mine"]`); err != nil || server.Find(Volumes, "pv") == nil {
		t.Errorf("it is gone although a finalizer is left: %v", err)
	}
	if err := patch(`"$deleteFromPrimitiveList/finalizers":["` + FinalizerVolume + `"]`); err != nil || server.Find(Volumes, "pv") != nil {
		t.Errorf("it is left: %v", err)
	}
	if got := len(server.Log(Volumes)); got != 4 {
		t.Errorf("%d events", got)
	}
	if err := client.Delete(t.Context(), "pv", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestPatches(t *testing.T) {
	tests := map[string]struct {
		patchType types.PatchType
		patch     string
		want      map[string]string // annotations
		err       string
	}{
		"merge":                        {types.MergePatchType, `{"metadata":{"annotations":{"a":null,"c":"d"}}}`, map[string]string{"c": "d"}, ""},
		"merge, of this version":       {types.MergePatchType, `{"metadata":{"resourceVersion":"1","annotations":{"a":"z"}}}`, map[string]string{"a": "z"}, ""},
		"merge, of another version":    {types.MergePatchType, `{"metadata":{"resourceVersion":"7","annotations":{"a":"z"}}}`, nil, "the object has been modified"},
		"merge, of another object":     {types.MergePatchType, `{"metadata":{"uid":"other","annotations":{"a":"z"}}}`, nil, "field is immutable"},
		"JSON, of this object":         {types.JSONPatchType, `[{"op":"test","path":"/metadata/uid","value":"uid-1"},{"op":"remove","path":"/metadata/annotations/a"}]`, nil, ""},
		"JSON, of another object":      {types.JSONPatchType, `[{"op":"test","path":"/metadata/uid","value":"other"},{"op":"remove","path":"/metadata/annotations/a"}]`, nil, "test /metadata/uid: it is uid-1"},
		"JSON, of nothing":             {types.JSONPatchType, `[{"op":"remove","path":"/metadata/annotations/z"}]`, nil, "there is nothing"},
		"JSON, added and replaced":     {types.JSONPatchType, `[{"op":"add","path":"/metadata/annotations/z~1y","value":"x"},{"op":"replace","path":"/metadata/annotations/a","value":"c"}]`, map[string]string{"a": "c", "z/y": "x"}, ""},
		"strategic, of another object": {types.StrategicMergePatchType, `{"metadata":{"uid":"other"}}`, nil, "field is immutable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := NewServer()
			client := NewClient(server, Now).CoreV1().Nodes()
			if _, err := client.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{"a": "b"}}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := client.Patch(t.Context(), "n", tt.patchType, []byte(tt.patch), metav1.PatchOptions{})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(tt.want, got.GetAnnotations(), cmpopts.EquateEmpty()); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheGateDecides(t *testing.T) {
	server := NewServer()
	var calls []string
	client := NewClient(server, func(_ context.Context, call *Call) (Object, error) {
		calls = append(calls, call.String())
		if call.Writes() {
			return nil, apierrors.NewInternalError(context.Canceled)
		}
		return call.Do()
	}).CoreV1().ConfigMaps("ns")
	_, created := client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}}, metav1.CreateOptions{})
	_, found := client.Get(t.Context(), "c", metav1.GetOptions{})
	if !apierrors.IsInternalError(created) || !apierrors.IsNotFound(found) {
		t.Errorf("got %v, %v", created, found)
	}
	if diff := cmp.Diff([]string{"create configmaps ns/c", "get configmaps ns/c"}, calls); diff != "" {
		t.Error(diff)
	}
}

// create and remove begin an operation and do it.
func create(driver *Driver, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	operation, err := driver.BeginCreate(request)
	if err != nil {
		return nil, err
	}
	return operation.Do(nil)
}

func remove(driver *Driver, handle string) error {
	operation, err := driver.BeginDelete(handle)
	if err == nil {
		_, err = operation.Do(nil)
	}
	return err
}

func TestADriverCreatesByName(t *testing.T) {
	request := func(tier string) *csipb.CreateVolumeRequest {
		return &csipb.CreateVolumeRequest{Name: "pvc-1", Parameters: map[string]string{"tier": tier}, Secrets: map[string]string{"key": tier}}
	}
	for name, tt := range map[string]struct {
		driver *Driver
		code   codes.Code
		want   int // volumes
	}{
		"that refuses another request":            {&Driver{}, codes.AlreadyExists, 1},
		"that takes another request for another":  {&Driver{ByRequest: true}, codes.OK, 2},
		"whose volumes have their names' handles": {&Driver{HandleIsName: true}, codes.AlreadyExists, 1},
	} {
		t.Run(name, func(t *testing.T) {
			first, err := create(tt.driver, request("gold"))
			if err != nil {
				t.Fatal(err)
			}
			if again, err := create(tt.driver, request("gold")); err != nil || again.GetVolumeId() != first.GetVolumeId() {
				t.Errorf("got %v, %v", again, err)
			}
			if _, err := create(tt.driver, request("iron")); status.Code(err) != tt.code || len(tt.driver.Volumes()) != tt.want {
				t.Errorf("got %v and %d volumes", err, len(tt.driver.Volumes()))
			}
			for range 2 {
				if err := remove(tt.driver, first.GetVolumeId()); err != nil {
					t.Error(err)
				}
			}
			if got := len(tt.driver.Volumes()); got != tt.want-1 {
				t.Errorf("%d volumes are left", got)
			}
		})
	}
}

func TestPendingOperationsExcludeOthers(t *testing.T) {
	driver, request := &Driver{}, &csipb.CreateVolumeRequest{Name: "pvc-1"}
	pending, err := driver.BeginCreate(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create(driver, request); status.Code(err) != codes.Aborted || len(driver.Volumes()) != 0 {
		t.Errorf("got %v", err)
	}
	volume, err := pending.Do(func(v *csipb.Volume) { v.CapacityBytes = 7 })
	if err != nil || len(driver.Volumes()) != 1 || volume.GetCapacityBytes() != 7 {
		t.Fatalf("got %v, %v", volume, err)
	}
	if pending, err = driver.BeginDelete(volume.GetVolumeId()); err != nil {
		t.Fatal(err)
	}
	if _, err := create(driver, request); status.Code(err) != codes.Aborted {
		t.Errorf("got %v", err)
	}
	if err := remove(driver, volume.GetVolumeId()); status.Code(err) != codes.Aborted {
		t.Errorf("got %v", err)
	}
	pending.Drop()
	if again, err := create(driver, request); err != nil || again.GetVolumeId() != volume.GetVolumeId() {
		t.Errorf("an operation that was dropped had an effect: %v", err)
	}
}
