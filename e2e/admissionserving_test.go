//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/berth-csi/berth/e2e/harness"
)

// webhookOnly starts a Berth of a world that serves webhooks with a certificate from files.
func (s *story) webhookOnly(name string, files *harness.CertificateFiles, flags ...string) *harness.Berth {
	s.t.Helper()
	berth, err := s.StartBerth(s.t.Context(), harness.BerthOptions{
		Name: name, Socket: "/nowhere.sock", Flags: append(flags, "--driver-name="+s.Driver.Name),
		Admission: &harness.AdmissionOptions{Account: "berth-" + s.World.Name + "-" + name, Components: "webhook", Files: files},
	})
	must(s.t, err)
	s.t.Cleanup(func() {
		exit, err := berth.Stop(context.Background())
		check(s.t, err)
		if exit != (harness.Exit{}) {
			s.t.Errorf("%s ended with %s", name, exit)
		}
	})
	s.ready(berth)
	return berth
}

func TestAdmissionWithCertificatesFromFiles(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "files", func(options *harness.WorldOptions) { options.WithoutBerth = true })
	class := s.class()
	authority, err := harness.NewAuthority("first")
	must(t, err)
	other, err := harness.NewAuthority("second")
	must(t, err)
	dir := filepath.Join(s.Dir, "certificate")
	must(t, os.Mkdir(dir, 0o700))
	files := harness.NewCertificateFiles(dir)
	write := func(authority *harness.Authority) *big.Int {
		t.Helper()
		issued, err := authority.Issue("berth")
		must(t, err)
		must(t, files.Write(issued))
		return issued.Serial
	}
	write(authority)
	trusting := harness.Trusting(bytes.Join([][]byte{authority.Bundle, other.Bundle}, nil))

	t.Run("they are followed, and no claim is refused meanwhile", func(t *testing.T) {
		s := newStory(t, s.World)
		berth := s.webhookOnly("follows", files)
		webhooks := s.webhooks(berth, trusting, harness.Mandatory)
		s.admitted(class)
		for _, authority := range []*harness.Authority{authority, other} {
			stop := s.hammer(class)
			serial := write(authority)
			must(t, harness.Eventually(t.Context(), "the new certificate is served", func(ctx context.Context) error {
				served, err := servedBy(ctx, berth.Admission.Address)
				if err == nil && served.Cmp(serial) != 0 {
					err = fmt.Errorf("it is %s", served)
				}
				return err
			}))
			again := s.hammer(class) // more at once than before, so that the API server connects anew
			again()
			stop()
		}
		kept, err := webhooks.Kept(t.Context(), s.Client())
		must(t, err)
		for _, one := range kept {
			if one.Condition != "" || !bytes.Equal(one.Bundle, webhooks.MutateClaims.Webhooks[0].ClientConfig.CABundle) {
				t.Errorf("Berth has written to %s, which somebody else keeps", one.Configuration)
			}
		}
	})

	t.Run("who calls without a certificate is refused", func(t *testing.T) {
		s := newStory(t, s.World)
		clients := filepath.Join(dir, "clients.crt")
		must(t, os.WriteFile(clients, authority.Bundle, 0o600))
		berth := s.webhookOnly("strict", files, "--admission-client-ca-file="+clients, "--admission-client-names=api-server")
		webhooks := s.webhooks(berth, trusting)
		for name, want := range map[string]int{"": http.StatusUnauthorized, "somebody": http.StatusForbidden, "api-server": http.StatusBadRequest} {
			code, body := s.call(berth.Admission.Address, authority, name)
			if code != want { // the last is let in, to hear that its review is none
				t.Errorf("client %q is answered %d %s, want %d", name, code, body, want)
			}
		}
		// The API server here presents none. The webhooks are not mandatory, so claims are let in as they are.
		failedOpen := ""
		must(t, harness.Eventually(t.Context(), "the API server has tried to call", func(context.Context) error {
			name := "data-" + rand.String(5)
			claim := s.claim(name, class)
			s.wantOurs("the webhook was not to be reached", claim, 0)
			for key, value := range s.audited(name) {
				if strings.HasPrefix(key, "failed-open.mutation.webhook.admission.k8s.io/") {
					failedOpen = value
					return nil
				}
			}
			return errors.New("the audit log does not tell so")
		}))
		if want := webhooks.MutateClaims.Webhooks[0].Name; failedOpen != want {
			t.Errorf("%q failed, want %q", failedOpen, want)
		}
	})
}

// hammer creates claims of a class, without storing them, until stop is called, which tells of all that were not let in or not annotated. Stop
// returns after some more have been.
func (s *story) hammer(class string) (stop func()) {
	s.t.Helper()
	const hands, more = 4, 10
	stopping := make(chan struct{})
	var working sync.WaitGroup
	for range hands {
		working.Go(func() {
			for left := more; left > 0; {
				claim, err := s.tried(class)
				if err == nil && !givenTo(claim, s.Driver.Name) {
					err = fmt.Errorf("annotations are %v", claim.Annotations)
				}
				if err != nil {
					if s.t.Context().Err() == nil {
						s.t.Errorf("a claim while the certificate is replaced: %v", err)
					}
					return
				}
				select {
				case <-stopping:
					left--
				default:
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(stopping)
		working.Wait()
	})
	s.t.Cleanup(stop)
	return stop
}

// servedBy is the serial number of the certificate that an address serves, whoever signed it.
func servedBy(ctx context.Context, address string) (*big.Int, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // what is served is looked at, nothing is told
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber, nil
}

// call sends what is no review to a webhook, as a client with a certificate in this name; no name: without a certificate.
func (s *story) call(address string, authority *harness.Authority, name string) (code int, body string) {
	s.t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the client is under test
	if name != "" {
		issued, err := authority.Issue(name)
		must(s.t, err)
		pair, err := tls.X509KeyPair(issued.Certificate, issued.Key)
		must(s.t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "https://"+address+harness.PathMutateClaim, strings.NewReader("{}"))
	must(s.t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	must(s.t, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	must(s.t, err)
	return response.StatusCode, string(data)
}

func TestAdmissionComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "killed", admitting)
	class := s.class()
	s.webhooks(s.Berth)
	s.admitted(class)
	s.Berth.Kill()
	s.wantOurs("nobody was there", s.claim("meanwhile", class), 0)
	must(t, s.Berth.Start(t.Context()))
	s.admitted(class)
	s.wantOurs("it is back", s.claim("afterwards", class), 2)
	for _, name := range []string{"meanwhile", "afterwards"} {
		claim, volume := s.bound(name)
		wantStored(s, claim, volume)
	}
}

// Two Berths are asked about every claim, and each minds its own. The first in the API server's order is asked again where the second has
// changed the claim, and has nothing to add.
func TestAdmissionOfTwoDrivers(t *testing.T) {
	t.Parallel()
	everyClaim := berthFlags("--admission-match-classes=false")
	first, second := inOwnWorld(t, "two-a", admitting, everyClaim), inOwnWorld(t, "two-b", admitting, everyClaim)
	first.webhooks(first.Berth)
	second.webhooks(second.Berth, harness.OnlyIn(first.namespace))
	classes := map[*story]string{}
	for _, own := range []*story{first, second} {
		classes[own] = own.class()
		own.publish(classes[own], map[string]string{own.Zones[0]: "100Gi"})
	}
	for own, class := range classes {
		// Both in one namespace, which is that of the webhooks.
		in := &story{World: own.World, t: t, namespace: first.namespace}
		in.hinted(class)
		name := "of-" + own.World.Name
		claim := in.claim(name, class)
		in.wantOurs("its own driver's", claim, 3)
		if !givenTo(claim, own.Driver.Name) || len(claim.Annotations) != 3 {
			t.Errorf("annotations are %v, want those of driver %s", claim.Annotations, own.Driver.Name)
		}
		in.bound(name)
		again := 0
		for key, value := range in.audited(name) {
			if strings.HasPrefix(key, "mutation.webhook.admission.k8s.io/round_1_") {
				again++
				if !strings.Contains(value, first.World.Name) || !strings.Contains(value, `"mutated":false`) {
					t.Errorf("asked again was %s, want the first, with nothing changed", value)
				}
			}
		}
		if want := map[bool]int{true: 0, false: 1}[own == first]; again != want {
			t.Errorf("claim %s: %d webhooks were asked again, want %d", name, again, want)
		}
	}
}
