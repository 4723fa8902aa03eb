package explain

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// readTimeout bounds one read, so that one API that hangs does not take the time of all others.
	readTimeout = 10 * time.Second
	// pageSize and the numbers of pages bound lists. What is beyond is not looked at, and that is said.
	pageSize    = 500
	fewPages    = 4
	manyPages   = 10
	unseenEnded = "there was no time left"
)

// reads keeps account of what could not be read.
type reads struct{ unseen []Unseen }

// hide notes that something could not be looked at.
func (r *reads) hide(what string, err error) {
	unseen := Unseen{What: what, Why: err.Error(), Forbidden: apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)}
	if errors.Is(err, context.DeadlineExceeded) {
		unseen.Why = unseenEnded
	}
	r.unseen = append(r.unseen, unseen)
}

// one reads one object. That it, or its whole API, does not exist is an answer.
func one[T any](ctx context.Context, r *reads, what string, get func(context.Context) (T, error)) Look[T] {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	object, err := get(ctx)
	switch {
	case err == nil:
		return Look[T]{Sight: Seen, Value: object}
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return Look[T]{Sight: Absent}
	}
	r.hide(what, err)
	return Look[T]{Sight: Hidden}
}

// page is a part of a list, and where the next begins; empty: there is none.
type page[T any] struct {
	items []T
	next  string
}

// paged makes pages of a client's lists.
func paged[L metav1.ListInterface, T any](find func(context.Context, metav1.ListOptions) (L, error), items func(L) []T,
) func(context.Context, metav1.ListOptions) (page[T], error) {
	return func(ctx context.Context, options metav1.ListOptions) (page[T], error) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		found, err := find(ctx, options)
		if err != nil {
			return page[T]{}, err
		}
		return page[T]{items(found), found.GetContinue()}, nil
	}
}

// many reads a list, so many pages of it at most; keep, if it is given, throws away what is of no interest. A list that does not exist is
// one without objects.
func many[T any](ctx context.Context, r *reads, what string, pages int, options metav1.ListOptions,
	read func(context.Context, metav1.ListOptions) (page[T], error), keep func(*T) bool,
) Look[[]T] {
	look := Look[[]T]{Sight: Seen, Value: []T{}}
	options.Limit = pageSize
	for number := range pages {
		part, err := read(ctx, options)
		switch {
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
			return look
		case err != nil && number > 0: // what was read before it is true
			look.Partial = true
			return look
		case err != nil:
			r.hide(what, err)
			return Look[[]T]{Sight: Hidden}
		}
		for _, object := range part.items {
			if keep == nil || keep(&object) {
				look.Value = append(look.Value, object)
			}
		}
		if options.Continue = part.next; options.Continue == "" {
			return look
		}
	}
	look.Partial = true
	return look
}
