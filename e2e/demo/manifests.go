package main

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
)

// manifests are what the demo applies, and what it hands to kubectl.
//
//go:embed manifests/*.yaml
var manifests embed.FS

// The manifests, and the names of what is in them.
const (
	classesManifest = "classes.yaml"
	claimManifest   = "claim.yaml"
	podManifest     = "pod.yaml"

	namespace      = "default"
	immediateClaim = "data"
	delayedClaim   = "logs"
	podName        = "app"
)

// writeManifests puts the manifests into dir.
func writeManifests(dir string) error {
	for _, name := range []string{classesManifest, claimManifest, podManifest} {
		data, err := manifests.ReadFile("manifests/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
	}
	return nil
}

// readManifest returns the objects of a manifest in their order.
func readManifest(name string) ([]runtime.Object, error) {
	data, err := manifests.ReadFile("manifests/" + name)
	if err != nil {
		return nil, err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var objects []runtime.Object
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		objects = append(objects, object)
	}
}

// create creates one object of a manifest.
func create(ctx context.Context, client kubernetes.Interface, object runtime.Object) error {
	var err error
	switch object := object.(type) {
	case *storagev1.StorageClass:
		_, err = client.StorageV1().StorageClasses().Create(ctx, object, metav1.CreateOptions{})
	case *corev1.PersistentVolumeClaim:
		_, err = client.CoreV1().PersistentVolumeClaims(object.Namespace).Create(ctx, object, metav1.CreateOptions{})
	case *corev1.Pod:
		_, err = client.CoreV1().Pods(object.Namespace).Create(ctx, object, metav1.CreateOptions{})
	default:
		err = fmt.Errorf("no idea how to create a %T", object)
	}
	return err
}
