package provisioner

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	testPassword = "open sesame"
	newPassword  = "friend"
)

// secretive is a class whose driver needs a secret.
var secretive = parameters("csi.storage.k8s.io/provisioner-secret-name", "password", "csi.storage.k8s.io/provisioner-secret-namespace", "vault")

func makeSecret(password string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "password"}, Data: map[string][]byte{"password": []byte(password)}}
}

// withSecretiveClass has the claims of a world be of a class whose driver needs a secret.
func (w *world) withSecretiveClass() {
	w.t.Helper()
	w.cached(makeClaim())
	if err := w.c.classes.GetIndexer().Update(makeClass(secretive)); err != nil {
		w.t.Fatal(err)
	}
}

// wrongSecrets are what can be wrong with a secret, and how people are told.
func wrongSecrets() map[string]struct {
	objects []runtime.Object
	prepare func(*world)
	told    string
} {
	secret := []runtime.Object{makeSecret(testPassword)}
	return map[string]struct {
		objects []runtime.Object
		prepare func(*world)
		told    string
	}{
		"it does not exist": {nil, func(*world) {}, `secret "password" in namespace "vault", which class "fast" names for the driver, does not exist: create it`},
		"it is forbidden": {secret, func(w *world) { fails(&w.core.Fake, "get", "secrets", forbidden(secretsResource)) },
			`secret "password" in namespace "vault", which class "fast" names for the driver, may not be read: grant get on secrets to the provisioner's service account`},
		"the API server is away": {secret, func(w *world) { fails(&w.core.Fake, "get", "secrets", errors.New("connection refused")) },
			`read secret "password" in namespace "vault": connection refused`},
	}
}

// Before the driver knows of an attempt, an attempt that lacks its secret is dropped: what changes until the secret is there counts.
func TestWithoutItsSecretNoAttemptBegins(t *testing.T) {
	for name, tt := range wrongSecrets() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, append(tt.objects, makeSnapshot(), makeContent(), makeClaim(fromSnapshot)), func(w *world) {
				if err := w.core.Tracker().Update(classesResource, makeClass(secretive), ""); err != nil {
					t.Fatal(err)
				}
				tt.prepare(w)
			}, func(w *world) {
				pass(500 * time.Millisecond)
				if creates, _ := w.driver.calls(); creates != 0 || w.c.attempts.count() != 0 {
					t.Errorf("%d calls, %d open attempts", creates, w.c.attempts.count())
				}
				if got := w.events(); !slices.Contains(got, "Warning ProvisioningFailed: "+tt.told) {
					t.Errorf("people were told %q", got)
				}
				if got := writes(&w.snapshots.Fake, "volumesnapshots"); len(got) > 0 {
					t.Errorf("its source was marked: %q", got)
				}
			})
		})
	}
}

// Once the driver may have begun, an attempt that lacks its secret is kept: nothing but the same request tells what there is.
func TestWithoutItsSecretAnUnknownOutcomeStaysOpen(t *testing.T) {
	for name, tt := range wrongSecrets() {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t, tt.objects...)
			w.withSecretiveClass()
			attempt := sealed(Input{Settings: w.c.settings, Claim: makeClaim(), Class: makeClass(secretive)}, nil)
			attempt.began = time.Now()
			w.c.attempts.put(testUID, attempt)
			tt.prepare(w)
			if !w.c.workClaim(t.Context(), keyOf(makeClaim())).Retries() {
				t.Error("not retried")
			}
			if creates, _ := w.driver.calls(); creates != 0 || w.c.attempts.get(testUID) != attempt {
				t.Errorf("%d calls, open attempt %v", creates, w.c.attempts.get(testUID))
			}
		})
	}
}

func TestTheDriverGetsTheSecretAndNobodyKeepsIt(t *testing.T) {
	w := makeWorld(t, makeSecret(testPassword))
	w.withSecretiveClass()
	kept := func() *Attempt {
		t.Helper()
		attempt := w.c.attempts.get(testUID)
		if attempt == nil {
			t.Fatal("no open attempt")
		}
		if text := prototext.Format(attempt.Request) + fmt.Sprint(attempt.Template, attempt.Claim, attempt.Secret); strings.Contains(text, testPassword) || strings.Contains(text, newPassword) {
			t.Errorf("the attempt keeps the secret: %s", text)
		}
		return attempt
	}
	w.driver.answer = func(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
		kept()
		if nth < 2 {
			return nil, status.Error(codes.Unavailable, "restarting")
		}
		return asAsked(request), nil
	}
	w.c.workClaim(t.Context(), keyOf(makeClaim()))
	request := kept().Request
	if err := w.core.Tracker().Update(secretsResource, makeSecret(newPassword), "vault"); err != nil {
		t.Fatal(err)
	}
	w.c.workClaim(t.Context(), keyOf(makeClaim()))
	if len(w.driver.created) != 2 {
		t.Fatalf("%d calls", len(w.driver.created))
	}
	for i, password := range []string{testPassword, newPassword} { // a secret that was changed counts at once
		if diff := cmp.Diff(map[string]string{"password": password}, w.driver.created[i].GetSecrets()); diff != "" {
			t.Errorf("call %d: %s", i+1, diff)
		}
		if diff := cmp.Diff(request, w.driver.created[i], protocmp.Transform(), protocmp.IgnoreFields(&csipb.CreateVolumeRequest{}, "secrets")); diff != "" {
			t.Errorf("call %d: %s", i+1, diff)
		}
	}
	pv, err := w.core.CoreV1().PersistentVolumes().Get(t.Context(), testVolume, metav1.GetOptions{})
	if err != nil || strings.Contains(pv.String(), newPassword) {
		t.Errorf("%v, stored %s", err, pv)
	}
}

func TestAnUnwantedVolumeIsDeletedWithTheSecret(t *testing.T) {
	w := makeWorld(t, makeSecret(testPassword))
	attempt := sealed(Input{Settings: w.c.settings, Claim: makeClaim(), Class: makeClass(secretive)}, nil)
	created(attempt)
	w.c.attempts.put(testUID, attempt)
	w.c.workClaim(t.Context(), keyOf(makeClaim())) // which is gone
	want := []*csipb.DeleteVolumeRequest{{VolumeId: "handle-1", Secrets: map[string]string{"password": testPassword}}}
	if diff := cmp.Diff(want, w.driver.deleted, protocmp.Transform()); diff != "" || w.c.attempts.count() != 0 {
		t.Errorf("%d open attempts %s", w.c.attempts.count(), diff)
	}
}

func TestAReleasedVolumeIsDeletedWithItsSecret(t *testing.T) {
	named := func(pv *corev1.PersistentVolume) {
		pv.Annotations[AnnotationDeletionSecretName], pv.Annotations[AnnotationDeletionSecretNamespace] = "password", "vault"
	}
	byClass := func(pv *corev1.PersistentVolume) {
		pv.Annotations = map[string]string{AnnotationProvisionedBy: testDriver}
	}
	secret := map[string]string{"password": testPassword}
	tests := map[string]struct {
		pv      *corev1.PersistentVolume
		prepare func(*world)
		secrets map[string]string
		deletes int
		retries bool
	}{
		"without one":                  {makeVolume(), func(*world) {}, nil, 1, false},
		"as its annotations name it":   {makeVolume(named), func(*world) {}, secret, 1, false},
		"as its class names it":        {makeVolume(byClass), func(*world) {}, secret, 1, false},
		"half of it is annotated":      {makeVolume(func(pv *corev1.PersistentVolume) { delete(pv.Annotations, AnnotationDeletionSecretNamespace) }), func(*world) {}, secret, 1, false},
		"its class is gone":            {makeVolume(byClass), func(w *world) { _ = w.c.classes.GetIndexer().Delete(makeClass()) }, nil, 1, false},
		"the secret is gone":           {makeVolume(named), func(w *world) { _ = w.core.Tracker().Delete(secretsResource, "vault", "password") }, nil, 1, false},
		"the secret may not be read":   {makeVolume(named), func(w *world) { fails(&w.core.Fake, "get", "secrets", forbidden(secretsResource)) }, nil, 0, true},
		"the API server does not tell": {makeVolume(named), func(w *world) { fails(&w.core.Fake, "get", "secrets", errors.New("connection refused")) }, nil, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t, makeSecret(testPassword), tt.pv)
			w.withSecretiveClass()
			if err := w.c.volumes.GetIndexer().Add(tt.pv); err != nil {
				t.Fatal(err)
			}
			tt.prepare(w)
			if got := w.c.workVolume(t.Context(), volumeKey(tt.pv.Name)); got.Retries() != tt.retries || len(w.driver.deleted) != tt.deletes {
				t.Fatalf("retries %v, %d deletions", got.Retries(), len(w.driver.deleted))
			}
			if tt.deletes == 0 {
				return
			}
			if diff := cmp.Diff(tt.secrets, w.driver.deleted[0].GetSecrets()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
