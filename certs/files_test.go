package certs

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// heard is a listener that says when it was told.
type heard chan struct{}

func (h heard) Enqueue() {
	select {
	case h <- struct{}{}:
	default:
	}
}

func (h heard) wait(t *testing.T) {
	t.Helper()
	select {
	case <-h:
	case <-time.After(time.Minute):
		t.Fatal("nobody told of a change")
	}
}

// mount puts a certificate where the kubelet would: its files are links into a directory that is replaced as a whole, and the former
// one is removed.
func mount(t *testing.T, directory, generation string) (certificate string) {
	t.Helper()
	certificate, former := link(t, directory, generation)
	if former != "" {
		if err := os.RemoveAll(filepath.Join(directory, former)); err != nil {
			t.Fatal(err)
		}
	}
	return certificate
}

// link is mount by somebody who removes nothing.
func link(t *testing.T, directory, generation string) (certificate, former string) {
	t.Helper()
	authority := makeAuthority(t, generation, -day, day)
	certificatePEM, keyPEM, err := authority.encode()
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(directory, generation), 0o700))
	must(os.WriteFile(filepath.Join(directory, generation, "tls.crt"), certificatePEM, 0o600))
	must(os.WriteFile(filepath.Join(directory, generation, "tls.key"), keyPEM, 0o600))
	must(os.Symlink(generation, filepath.Join(directory, "..data_tmp")))
	former, _ = os.Readlink(filepath.Join(directory, "..data"))
	must(os.Rename(filepath.Join(directory, "..data_tmp"), filepath.Join(directory, "..data")))
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(directory, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	return string(certificatePEM), former
}

func TestFilesAreAwaitedAndFollowed(t *testing.T) {
	directory := t.TempDir()
	registry := prometheus.NewRegistry()
	files := NewFiles(FilesConfig{Certificate: filepath.Join(directory, "tls.crt"), Key: filepath.Join(directory, "tls.key"), Registry: registry})
	var source Source = files
	told := make(heard, 1)
	source.AddListener(told)
	if certificate, key := source.CurrentCertKeyContent(); certificate != nil || key != nil || source.Check(nil) == nil {
		t.Error("there is a certificate before there are files")
	}
	if diff := cmp.Diff(map[string]float64{}, figures(t, registry)); diff != "" {
		t.Error(diff)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()

	for _, generation := range []string{"first", "second"} {
		want := mount(t, directory, generation)
		for deadline := time.Now().Add(time.Minute); ; {
			told.wait(t)
			got, _ := source.CurrentCertKeyContent()
			if string(got) == want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the %s certificate was not read", generation)
			}
		}
		if err := source.Check(nil); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(map[string]float64{"berth_certificate_expiry_timestamp_seconds serving": float64(noon().Add(day).Unix())}, figures(t, registry)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("files "+filepath.Join(directory, "tls.crt")+" and "+filepath.Join(directory, "tls.key"), source.Name()); diff != "" {
		t.Error(diff)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Links that are led elsewhere are no change of the files that are watched.
func TestFilesAreReadAgainThoughTheFormerOnesStay(t *testing.T) {
	directory := t.TempDir()
	want, _ := link(t, directory, "first")
	files := NewFiles(FilesConfig{
		Certificate: filepath.Join(directory, "tls.crt"), Key: filepath.Join(directory, "tls.key"), Registry: prometheus.NewRegistry(),
	})
	files.again = 10 * time.Millisecond
	told := make(heard, 1)
	files.AddListener(told)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- files.Run(ctx) }()
	told.wait(t)
	for _, generation := range []string{"first", "second"} {
		if generation != "first" {
			want, _ = link(t, directory, generation)
			told.wait(t) // it tells of contents that changed, and of nothing else
		}
		if got, _ := files.CurrentCertKeyContent(); string(got) != want {
			t.Errorf("the %s certificate was not read", generation)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWaitingForFilesEnds(t *testing.T) {
	files := NewFiles(FilesConfig{Certificate: "nowhere", Key: "nowhere", Registry: prometheus.NewRegistry()})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := files.Run(ctx); err != nil {
		t.Error(err)
	}
}
