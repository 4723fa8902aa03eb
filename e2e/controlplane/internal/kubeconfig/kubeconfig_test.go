package kubeconfig

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

func TestAKubeconfigStandsAlone(t *testing.T) {
	cluster := Cluster{Server: "https://127.0.0.1:20000", CA: []byte("authority")}
	pair := pki.Pair{Certificate: []byte("certificate"), Key: []byte("key")}
	type access struct{ Host, Namespace, Token, CA, Certificate, Key string }
	cases := map[string]struct {
		user User
		want access
	}{
		"with a certificate": {
			user: User{Name: "admin", Credential: Credential{Certificate: pair}},
			want: access{Namespace: "default", Certificate: "certificate", Key: "key"},
		},
		"with a token and a namespace": {
			user: User{Name: "berth", Namespace: "storage", Credential: Credential{Token: "secret"}},
			want: access{Namespace: "storage", Token: "secret"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			encoded, err := Encode(cluster, c.user)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := clientcmd.NewClientConfigFromBytes(encoded)
			if err != nil {
				t.Fatal(err)
			}
			config, err := loaded.ClientConfig()
			if err != nil {
				t.Fatal(err)
			}
			namespace, _, err := loaded.Namespace()
			if err != nil {
				t.Fatal(err)
			}
			got := access{
				Host: config.Host, Namespace: namespace, Token: config.BearerToken,
				CA: string(config.CAData), Certificate: string(config.CertData), Key: string(config.KeyData),
			}
			c.want.Host, c.want.CA = cluster.Server, "authority"
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("access (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadClusterReturnsWhatEncodeWrote(t *testing.T) {
	want := Cluster{Server: "https://127.0.0.1:20000", CA: []byte("authority")}
	encoded, err := Encode(want, User{Name: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadCluster(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cluster (-want +got):\n%s", diff)
	}
	if _, err := ReadCluster(path + "-missing"); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestParseAccount(t *testing.T) {
	got, err := ParseAccount("storage/berth")
	if want := (Account{Namespace: "storage", Name: "berth"}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, wrong := range []string{"", "berth", "/berth", "storage/", "a/b/c"} {
		if _, err := ParseAccount(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

func TestTokenCreatesWhatIsMissingAndKeepsWhatIsThere(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "token" {
			return false, nil, nil
		}
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: "secret"}}, nil
	})
	ctx := context.Background()
	for range 2 { // the second time everything is there
		token, err := Token(ctx, client, Account{Namespace: "storage", Name: "berth"})
		if err != nil || token != "secret" {
			t.Fatalf("got %q, %v", token, err)
		}
	}
	if _, err := client.CoreV1().ServiceAccounts("storage").Get(ctx, "berth", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(ctx, "storage", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}
