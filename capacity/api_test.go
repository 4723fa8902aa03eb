package capacity

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// oldServer speaks storage.k8s.io/v1beta1 over HTTP, and v1 without capacities, as Kubernetes 1.21 to 1.23 does.
type oldServer struct {
	mu      sync.Mutex
	objects map[string]storagev1beta1.CSIStorageCapacity
	serves  map[string]bool // group versions with capacities
	events  chan []byte
	wrong   []string // requests in another version
}

const collection = "/apis/storage.k8s.io/v1beta1/namespaces/ns/csistoragecapacities"

func (s *oldServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	answer := func(code int, object any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(object)
	}
	name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, collection), "/")
	if version, ok := strings.CutPrefix(r.URL.Path, "/apis/"); ok && !strings.HasPrefix(r.URL.Path, collection) {
		list := metav1.APIResourceList{GroupVersion: version, APIResources: []metav1.APIResource{{Name: "storageclasses"}}}
		if s.serves[version] {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: "csistoragecapacities", Namespaced: true})
		}
		answer(http.StatusOK, list)
		return
	}
	if !strings.HasPrefix(r.URL.Path, collection) {
		s.wrong = append(s.wrong, r.URL.Path)
		answer(http.StatusNotFound, apierrors.NewNotFound(resourceName, "").Status())
		return
	}
	if r.URL.Query().Get("watch") == "true" {
		w.WriteHeader(http.StatusOK)
		for {
			w.(http.Flusher).Flush()
			select {
			case event := <-s.events:
				_, _ = w.Write(event)
			case <-r.Context().Done():
				return
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		if name != "" {
			if object, ok := s.objects[name]; ok {
				answer(http.StatusOK, object)
			} else {
				answer(http.StatusNotFound, apierrors.NewNotFound(resourceName, name).Status())
			}
			return
		}
		list := storagev1beta1.CSIStorageCapacityList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}
		for _, object := range s.objects {
			list.Items = append(list.Items, object)
		}
		answer(http.StatusOK, list)
	case http.MethodPost, http.MethodPut:
		var object storagev1beta1.CSIStorageCapacity
		if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
			answer(http.StatusBadRequest, apierrors.NewBadRequest(err.Error()).Status())
			return
		}
		s.objects[object.Name] = object
		answer(http.StatusOK, object)
	case http.MethodDelete:
		delete(s.objects, name)
		answer(http.StatusOK, metav1.Status{Status: metav1.StatusSuccess})
	}
}

func TestAnOldAPIServerIsSpokenToInItsVersion(t *testing.T) {
	server := &oldServer{objects: map[string]storagev1beta1.CSIStorageCapacity{}, serves: map[string]bool{"storage.k8s.io/v1beta1": true}, events: make(chan []byte, 1)}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: listening.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := NewObjects(client, "ns")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	sent := published("x", freeUpTo(5, 2), ownedBy(us))
	sent.CreationTimestamp = metav1.Time{}
	made, err := objects.Create(ctx, sent, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, made); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	tell(made, free(3))
	if made, err = objects.Update(ctx, made, metav1.UpdateOptions{}); err != nil || valueOf(made) != free(3) {
		t.Errorf("updated: %v, %v", made, err)
	}
	read, err := objects.Get(ctx, "x", metav1.GetOptions{})
	if diff := cmp.Diff(made, read); err != nil || diff != "" {
		t.Errorf("read: %v %s", err, diff)
	}
	if _, err := objects.Get(ctx, "y", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}

	heard := make(chan string, 2)
	informer := newInformer(objects, "a=b")
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		key, _ := cache.MetaNamespaceKeyFunc(object)
		heard <- key
	}}); err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(ctx)
	wait := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("heard of %s, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("never heard of %s", want)
		}
	}
	wait("x")
	later := toBeta(published("later", free(1)))
	later.ResourceVersion = "8"
	later.APIVersion, later.Kind = storagev1beta1.SchemeGroupVersion.String(), "CSIStorageCapacity" // in a watch objects say what they are
	event, err := json.Marshal(map[string]any{"type": "ADDED", "object": later})
	if err != nil {
		t.Fatal(err)
	}
	server.events <- event
	wait("later")

	if err := objects.Delete(ctx, "x", metav1.DeleteOptions{}); err != nil || len(server.objects) != 0 {
		t.Errorf("deleted: %v; left: %v", err, server.objects)
	}
	if len(server.wrong) != 0 {
		t.Errorf("requests in another version: %v", server.wrong)
	}
}

func TestWhichVersion(t *testing.T) {
	for name, c := range map[string]struct {
		serves map[string]bool
		broken bool
		beta   bool
		err    string
	}{
		"the present one":                 {map[string]bool{"storage.k8s.io/v1": true}, false, false, ""},
		"both":                            {map[string]bool{"storage.k8s.io/v1": true, "storage.k8s.io/v1beta1": true}, false, false, ""},
		"the old one":                     {map[string]bool{"storage.k8s.io/v1beta1": true}, false, true, ""},
		"none":                            {nil, false, false, "neither in storage.k8s.io/v1 nor in storage.k8s.io/v1beta1"},
		"a server that does not tell yet": {nil, true, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			listening := httptest.NewServer(&oldServer{serves: c.serves})
			t.Cleanup(listening.Close)
			if c.broken {
				listening.Close()
			}
			client, err := kubernetes.NewForConfig(&rest.Config{Host: listening.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
			if err != nil {
				t.Fatal(err)
			}
			objects, err := NewObjects(client, "ns")
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if _, beta := objects.(betaObjects); err != nil || beta != c.beta {
				t.Errorf("got %T, %v", objects, err)
			}
		})
	}
}
