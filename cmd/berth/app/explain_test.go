package app

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	snapshotfake "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"

	"github.com/berth-csi/berth/internal/explain"
)

func TestExplainArguments(t *testing.T) {
	tests := map[string]struct {
		args []string
		flag string
		want string // NAMESPACE/NAME, or a part of the error
	}{
		"namespace and name":               {[]string{"pvc", "shop/data"}, "", "shop/data"},
		"a name and a flag":                {[]string{"pvc", "data"}, "shop", "shop/data"},
		"a name alone is of the default":   {[]string{"pvc", "data"}, "", "/data"},
		"as kubectl writes it":             {[]string{"pvc/data"}, "shop", "shop/data"},
		"as kubectl writes it in full":     {[]string{"persistentvolumeclaim/data"}, "", "/data"},
		"another word for it":              {[]string{"PersistentVolumeClaims", "data"}, "", "/data"},
		"both, and the same":               {[]string{"pvc", "shop/data"}, "shop", "shop/data"},
		"both, and not the same":           {[]string{"pvc", "shop/data"}, "prod", `given twice: "shop" and --namespace "prod"`},
		"nothing":                          {nil, "", "say which claim"},
		"no name":                          {[]string{"pvc"}, "", "say which claim"},
		"an empty name":                    {[]string{"pvc", "shop/"}, "", "say which claim"},
		"an empty namespace":               {[]string{"pvc", "/data"}, "", "say which claim"},
		"too many slashes":                 {[]string{"pvc", "a/b/c"}, "", "say which claim"},
		"too many words":                   {[]string{"pvc", "data", "logs"}, "", "say which claim"},
		"something else":                   {[]string{"pod", "data"}, "", `cannot explain "pod", only pvc`},
		"something else, as kubectl would": {[]string{"pod/data"}, "", "say which claim"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			namespace, claim, err := claimArgument(tt.args, tt.flag)
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || strings.HasPrefix(tt.want, "/") {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if got := namespace + "/" + claim; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestExplainIsCalledAsItWasTyped(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/local/bin/berth": "berth", "kubectl-berth": "kubectl berth", "/home/x/.krew/bin/kubectl-berth.exe": "kubectl berth", "app.test": "berth",
	} {
		if got := programName(path); got != want {
			t.Errorf("%s is called %q, want %q", path, got, want)
		}
	}
	was := os.Args[0]
	t.Cleanup(func() { os.Args[0] = was })
	os.Args[0] = "/somewhere/kubectl-berth"
	code, stdout, _ := berth(t, "explain", "--help")
	if code != 0 || !strings.Contains(stdout, "kubectl berth explain pvc NAMESPACE/NAME") {
		t.Errorf("code %d, the help of the plugin is:\n%s", code, stdout)
	}
}

func TestHelpNamesExplain(t *testing.T) {
	if _, stdout, _ := berth(t, "--help"); !strings.Contains(stdout, "berth explain pvc") {
		t.Error("berth --help does not mention it")
	}
}

func TestExplainSaysWhatIsWrongInOneLine(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(empty, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unreachable := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(unreachable, []byte(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: ""}}],
		clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"no claim":                     {[]string{"explain"}, "say which claim to explain"},
		"another format":               {[]string{"explain", "pvc", "a/b", "-o", "yaml"}, `--output must be text or json, not "yaml"`},
		"a kubeconfig without content": {[]string{"explain", "pvc", "a/b", "--kubeconfig", empty}, "no kubeconfig was found"},
		"a kubeconfig that is missing": {[]string{"explain", "pvc", "a/b", "--kubeconfig", "/nowhere"}, "/nowhere"},
		"a context that is missing":    {[]string{"explain", "pvc", "a/b", "--kubeconfig", unreachable, "--context", "y"}, `"y"`},
		"a cluster that is not there":  {[]string{"explain", "pvc", "a/b", "--kubeconfig", unreachable}, "read claim a/b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := berth(t, tt.args...)
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("code %d, stdout %q, stderr %q, want one line with %q", code, stdout, stderr, tt.want)
			}
		})
	}
}

func TestExplanationIsPrinted(t *testing.T) {
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	gatherer := &explain.Gatherer{
		Client: fake.NewClientset(&corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data", UID: "1"},
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: new("fast")},
			Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
		}),
		Metadata:  metadatafake.NewSimpleMetadataClient(scheme),
		Snapshots: snapshotfake.NewSimpleClientset(), //nolint:staticcheck // this clientset has no other constructor
		Grants:    gatewayfake.NewClientset(),
		Now:       time.Now,
	}
	const verdict = `Claim shop/data is Pending: storage class "fast" does not exist.`
	var text bytes.Buffer
	if err := printExplanation(t.Context(), &text, gatherer, explanation{"shop", "data", "text"}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text.String(), verdict+"\n\n") || !strings.Contains(text.String(), "\nWhat to do\n  1. ") {
		t.Errorf("got:\n%s", text.String())
	}

	var list bytes.Buffer
	if err := printExplanation(t.Context(), &list, gatherer, explanation{"shop", "data", "json"}); err != nil {
		t.Fatal(err)
	}
	var findings []map[string]string
	if err := json.Unmarshal(list.Bytes(), &findings); err != nil {
		t.Fatal(err)
	}
	if first := findings[0]; first["severity"] != "problem" || first["about"] != "verdict" || first["text"] != verdict {
		t.Errorf("the first is %v", first)
	}

	text.Reset()
	err := printExplanation(t.Context(), &text, gatherer, explanation{"shop", "dta", "text"})
	if err == nil || err.Error() != "claim shop/dta does not exist" || !strings.HasPrefix(text.String(), "Claim shop/dta does not exist") {
		t.Errorf("error %v after:\n%s", err, text.String())
	}
}
