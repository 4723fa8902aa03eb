package kubeconfig

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tokenLife outlasts any test run; a kubeconfig cannot renew its token.
const tokenLife = 7 * 24 * time.Hour

// Account names a service account.
type Account struct {
	Namespace string
	Name      string
}

// ParseAccount reads NAMESPACE/NAME.
func ParseAccount(s string) (Account, error) {
	namespace, name, found := strings.Cut(s, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return Account{}, fmt.Errorf("%q is not NAMESPACE/NAME", s)
	}
	return Account{Namespace: namespace, Name: name}, nil
}

// String is NAMESPACE/NAME.
func (a Account) String() string { return a.Namespace + "/" + a.Name }

// Token asks the API server for a token of the account, as a kubelet would for a Pod. The account and its namespace
// are created if they are missing.
func Token(ctx context.Context, client kubernetes.Interface, account Account) (string, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account.Namespace}}
	_, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create namespace %s: %w", account.Namespace, err)
	}
	accounts := client.CoreV1().ServiceAccounts(account.Namespace)
	created := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}}
	if _, err := accounts.Create(ctx, created, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create service account %s: %w", account, err)
	}
	seconds := int64(tokenLife / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := accounts.CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request token of service account %s: %w", account, err)
	}
	return answer.Status.Token, nil
}
