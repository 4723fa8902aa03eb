package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"
)

// FilesConfig describes a certificate that somebody else keeps.
type FilesConfig struct {
	Certificate string // paths of PEM files
	Key         string
	Registry    prometheus.Registerer
}

// Files serves a certificate from files, and follows their changes. They need not be there from the start: a Pod may run before the
// Secret with its certificate is mounted.
type Files struct {
	listeners
	config FilesConfig
	loaded atomic.Pointer[dynamiccertificates.DynamicCertKeyPairContent]
	again  time.Duration // filesAgain, but for tests
}

// NewFiles makes a source of files.
func NewFiles(config FilesConfig) *Files {
	f := &Files{config: config, again: filesAgain}
	config.Registry.MustRegister(&expiryCollector{f.expiries})
	return f
}

// Name tells the files.
func (f *Files) Name() string {
	return fmt.Sprintf("files %s and %s", f.config.Certificate, f.config.Key)
}

// CurrentCertKeyContent is the certificate and its key, in PEM.
func (f *Files) CurrentCertKeyContent() (certificate, key []byte) {
	if loaded := f.loaded.Load(); loaded != nil {
		return loaded.CurrentCertKeyContent()
	}
	return nil, nil
}

// Check is an error until the files were read.
func (f *Files) Check(*http.Request) error {
	if f.loaded.Load() == nil {
		return errNoCertificate
	}
	return nil
}

const (
	// filesPoll is how often files that are not there yet are looked for.
	filesPoll = time.Second
	// filesAgain is how often they are read whether or not they seem to have changed. What is watched is what the paths led to at the time:
	// if they are links, and are led elsewhere while the former files stay, nobody is told.
	filesAgain = time.Minute
)

// Run waits for the files and then follows their changes, until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	if err := f.await(ctx); err != nil {
		return nil //nolint:nilerr // told to stop while waiting
	}
	loaded, err := dynamiccertificates.NewDynamicServingContentFromFiles("admission", f.config.Certificate, f.config.Key)
	if err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	loaded.AddListener(told{f})
	f.loaded.Store(loaded)
	f.tell()
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() {
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			if err := loaded.RunOnce(ctx); err != nil {
				klog.FromContext(ctx).Error(err, "Could not read the serving certificate again, serving the one that was read last", "source", f.Name())
			}
		}, f.again)
	})
	loaded.Run(ctx, 1)
	return nil
}

// await returns when the files hold a certificate and its key.
func (f *Files) await(ctx context.Context) error {
	logged := ""
	return wait.PollUntilContextCancel(ctx, filesPoll, true, func(context.Context) (bool, error) {
		_, err := tls.LoadX509KeyPair(f.config.Certificate, f.config.Key)
		if err != nil && err.Error() != logged {
			logged = err.Error()
			klog.FromContext(ctx).Info("Waiting for the serving certificate", "err", err)
		}
		return err == nil, nil
	})
}

func (f *Files) expiries() map[string]time.Time {
	certificate, _ := f.CurrentCertKeyContent()
	parsed, err := parseCertificates(certificate)
	if err != nil {
		return nil
	}
	return map[string]time.Time{certificateServing: parsed[0].NotAfter}
}

// told passes on that the files changed.
type told struct{ files *Files }

func (t told) Enqueue() { t.files.tell() }
