package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

func populate(t *testing.T, dir directory.Dir) (Layout, Clients) {
	t.Helper()
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	layout := LayoutOf(dir)
	clients, err := layout.Populate([]string{"127.0.0.1", "kubernetes.default.svc"})
	if err != nil {
		t.Fatal(err)
	}
	return layout, clients
}

func verify(t *testing.T, files Files, authority Files, options x509.VerifyOptions) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := os.ReadFile(authority.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	options.Roots = x509.NewCertPool()
	options.Roots.AppendCertsFromPEM(roots)
	_, err = pair.Leaf.Verify(options)
	return err
}

func TestCertificatesAreGoodForTheirPurposeAndNoOther(t *testing.T) {
	layout, _ := populate(t, directory.Dir(t.TempDir()))
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cases := map[string]struct {
		files, authority Files
		options          x509.VerifyOptions
		wantErr          bool
	}{
		"serving by address":                {layout.Serving, layout.CA, x509.VerifyOptions{DNSName: "127.0.0.1"}, false},
		"serving by name":                   {layout.Serving, layout.CA, x509.VerifyOptions{DNSName: "kubernetes.default.svc"}, false},
		"serving under another name":        {layout.Serving, layout.CA, x509.VerifyOptions{DNSName: "example.com"}, true},
		"etcd serving":                      {layout.EtcdServing, layout.EtcdCA, x509.VerifyOptions{DNSName: "127.0.0.1"}, false},
		"etcd's client":                     {layout.EtcdClient, layout.EtcdCA, x509.VerifyOptions{KeyUsages: client}, false},
		"etcd's client as a cluster user":   {layout.EtcdClient, layout.CA, x509.VerifyOptions{KeyUsages: client}, true},
		"the front proxy":                   {layout.FrontProxy, layout.FrontProxyCA, x509.VerifyOptions{KeyUsages: client}, false},
		"the front proxy as a cluster user": {layout.FrontProxy, layout.CA, x509.VerifyOptions{KeyUsages: client}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := verify(t, c.files, c.authority, c.options); (err != nil) != c.wantErr {
				t.Errorf("verification: %v", err)
			}
		})
	}
}

func TestClientCertificatesNameUserAndGroups(t *testing.T) {
	_, clients := populate(t, directory.Dir(t.TempDir()))
	pair, err := tls.X509KeyPair(clients.Admin.Certificate, clients.Admin.Key)
	if err != nil {
		t.Fatal(err)
	}
	if groups := pair.Leaf.Subject.Organization; len(groups) != 1 || groups[0] != "system:masters" {
		t.Errorf("administrator's groups are %v", groups)
	}
}

func TestASecondRunKeepsAuthoritiesAndServiceAccountKey(t *testing.T) {
	dir := directory.Dir(t.TempDir())
	layout, _ := populate(t, dir)
	kept := []string{layout.CA.Certificate, layout.CA.Key, layout.EtcdCA.Certificate, layout.ServiceAccount.Key, layout.ServiceAccount.Certificate}
	read := func() [][]byte {
		contents := make([][]byte, 0, len(kept))
		for _, path := range kept {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, content)
		}
		return contents
	}
	before := read()
	populate(t, dir)
	for i, content := range read() {
		if !bytes.Equal(before[i], content) {
			t.Errorf("%s has changed", kept[i])
		}
	}
}
