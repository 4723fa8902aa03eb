//go:build node

package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apart has the driver in the node's Pod, where replicas of Berth find its socket, so that there may be several of them and one driver.
func (s *story) apart() []string {
	s.t.Helper()
	values := s.vendor("- --mode=node\n", "- --mode=all\n                - --mount\n", "WaitForFirstConsumer", "Immediate", "size: 10Gi", "size: 10Ti")
	over := s.file("apart.yaml", fmt.Sprintf(`
driver:
  image: {registry: "", repository: ""}
  args: []
  securityContext: {}
  volumeMounts: []
  external: {hostPath: /var/lib/kubelet/plugins/%s}
extraVolumes: []
# The socket is for root and its group.
podSecurityContext: {runAsGroup: 0}
replicas: 2
updateStrategy:
  type: RollingUpdate
  rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
podDisruptionBudget: {enabled: true}
# A busy machine may be slow to answer; what counts is that somebody does.
admission: {mutating: {timeoutSeconds: 10}, validating: {timeoutSeconds: 10}}
`, s.driver))
	return []string{"--values", values, "--values", over}
}

// TestUpgradesAreNotNoticed: claims come all the time while a release is upgraded, rolled back, and given certificates of another kind. None is refused,
// none is let in unreviewed while the certificates stay, all are bound, and provisioning pauses for no longer than a hand-over. It runs alone, for it
// measures.
func TestUpgradesAreNotNoticed(t *testing.T) {
	s := newStory(t, cluster, "upgrade")
	values := s.apart()
	s.install(values...)

	for _, change := range []struct {
		name string
		do   func()
	}{
		{"an upgrade", func() { s.upgrade(append(values, "--set", "podAnnotations.release=second")...) }},
		{"a rollback", func() { s.run(s.helm, "rollback", s.name, "1", "--namespace", s.space, "--wait") }},
	} {
		r := s.streams()
		change.do()
		t.Log(change.name)
		if f := r.unharmed(); len(f.Unreviewed) > 0 || f.Gap > handOver {
			t.Errorf("%s is noticed: %s", change.name, f)
		}
	}

	// Another kind of certificates leaves a moment in which the API server trusts the old one alone.
	authority, serving := s.certificates()
	s.secret("given", serving)
	r := s.streams()
	s.upgrade(append(values, "--set", "admission.certificates.mode=existingSecret", "--set", "admission.certificates.existingSecret.name=given")...)
	s.trust(authority)
	t.Log("a certificate mode switch")
	r.unharmed()
	if claim := s.claim("after"); claim.Annotations["volume.kubernetes.io/storage-provisioner"] != s.driver {
		t.Errorf("annotations are %v with the given certificate", claim.Annotations)
	}
	s.deletes(s.volumes("after"), "after")
	s.uninstall()
	s.kubectl("-n", s.space, "delete", "secret", "given")
	s.leavesNothing()
}

// handOver is what a pause may last on a machine that is several times slower than ours, where it takes half a second. A lease that is looked at now and then,
// or left to expire, takes longer.
const handOver = 4 * time.Second

// certificates makes an authority and a serving certificate for the release's Service, as an administrator may have them.
func (s *story) certificates() (authority []byte, serving map[string][]byte) {
	s.t.Helper()
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "storage"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	must(s.t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "admission"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames: []string{fmt.Sprintf("%s-berth-admission.%s.svc", s.name, s.space)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	must(s.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(s.t, err)
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	return authority, map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

func (s *story) secret(name string, data map[string][]byte) {
	s.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.space, Name: name}, Type: corev1.SecretTypeTLS, Data: data}
	_, err := s.Client().CoreV1().Secrets(s.space).Create(s.t.Context(), secret, metav1.CreateOptions{})
	must(s.t, err)
}

// trust tells the API server whom to trust, as docs/install.md has it.
func (s *story) trust(authority []byte) {
	s.t.Helper()
	bundle := base64.StdEncoding.EncodeToString(authority)
	for _, c := range []struct{ kind, name, webhook string }{
		{"MutatingWebhookConfiguration", s.name + "-berth." + s.space, "claims.mutate." + s.driver},
		{"ValidatingWebhookConfiguration", s.name + "-berth." + s.space, "claims.validate." + s.driver},
		{"ValidatingWebhookConfiguration", "contents." + s.name + "-berth." + s.space, "contents.validate." + s.driver},
	} {
		manifest := fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: %s
metadata: {name: %s}
webhooks:
- name: %s
  clientConfig: {caBundle: %s}
`, c.kind, c.name, c.webhook, bundle)
		_, err := s.Kubectl(s.t.Context(), manifest, nil, "apply", "--server-side", "--force-conflicts", "--field-manager=storage-admin", "-f", "-")
		must(s.t, err)
	}
}
