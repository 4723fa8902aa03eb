package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// answering is an API server that takes dry runs of claims alone, and answers with an annotation.
func answering(t *testing.T, driver string) (client kubernetes.Interface, asked func() int) {
	t.Helper()
	count := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count++
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/shop/persistentvolumeclaims" || r.URL.Query().Get("dryRun") != "All" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var claim corev1.PersistentVolumeClaim
		if err := json.Unmarshal(body, &claim); err != nil {
			t.Error(err)
		}
		if driver != "" {
			claim.Annotations = map[string]string{volumehelpers.AnnStorageProvisioner: driver}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(claim); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON, AcceptContentTypes: runtime.ContentTypeJSON},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client, func() int { return count }
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		annotation string
		want       string // part of the error; empty: none
	}{
		"the webhook gives the claim to the driver": {"pool", ""},
		"nobody reviews the claim":                  {"", "nobody reviewed it"},
		"another driver gets the claim":             {"other", "it would be given to other, not to pool"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, asked := answering(t, tt.annotation)
			var out bytes.Buffer
			// So little patience that it is asked once, twice at most.
			err := check(t.Context(), &out, client, question{driver: "pool", class: "fast", namespace: "shop", patience: time.Second})
			switch {
			case tt.want == "" && (err != nil || !strings.Contains(out.String(), "Nothing was created")):
				t.Errorf("got %v, %q", err, out.String())
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if asked() == 0 {
				t.Error("the API server was not asked")
			}
		})
	}
}

func TestCheckEndsWhenItIsTold(t *testing.T) {
	client, _ := answering(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := check(ctx, io.Discard, client, question{driver: "pool", class: "fast", namespace: "shop", patience: time.Hour}); err == nil {
		t.Error("it was content")
	}
}

func TestCheckNeedsToKnowWhatToAsk(t *testing.T) {
	if code, _, stderr := berth(t, "check", "--timeout", "0s"); code != 1 || !strings.Contains(stderr, "--driver-name is required; --storage-class is required; --timeout must be positive") {
		t.Errorf("got %d %q", code, stderr)
	}
}
