package certs

import (
	"context"
	"errors"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// onlyNamed limits an informer to one object, which is also how it may be limited in a role.
func onlyNamed(name string) func(*metav1.ListOptions) {
	return func(options *metav1.ListOptions) {
		options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

// logged has an informer of one object say whose watch it is that fails.
func logged(informer cache.SharedIndexInformer, kind, name string) cache.SharedIndexInformer {
	// It fails only once the informer runs.
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
			errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return // how watches end
		}
		klog.FromContext(ctx).Info("Cannot watch, will try again", "kind", kind, "name", name, "err", err)
	})
	return informer
}

// wakes makes a handler that wakes tasks at each event.
func wakes(loop *worker.Loop[task], tasks ...task) cache.ResourceEventHandler {
	wake := func() {
		for _, t := range tasks {
			loop.Wake(t)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { wake() },
		UpdateFunc: func(_, _ any) { wake() },
		DeleteFunc: func(any) { wake() },
	}
}
