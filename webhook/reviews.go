package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/berth-csi/berth/datasource"
)

// mutateClaim gathers what Mutate decides by.
func (h *handlers) mutateClaim(_ context.Context, request *admissionv1.AdmissionRequest) (Result, error) {
	claim, old, err := claimsOf(request)
	if err != nil || claim == nil {
		return Admit{Reason: ReasonNotConcerned}, err
	}
	class, err := h.config.Lookups.class(claim)
	if err != nil {
		return nil, &undecidedError{ReasonLookupFailed, err}
	}
	facts := MutateFacts{
		Driver: h.config.Driver, InTree: h.config.InTree, Topology: h.config.topology(), CrossNamespace: h.config.CrossNamespace,
		Old: old, Class: class,
		SpreadBy: cmp.Or(claim.Name, string(request.UID)), // a name may be generated after admission
	}
	if settlesClass(old, claim) {
		h.config.Lookups.place(claim, &facts)
	}
	return Mutate(claim, facts), nil
}

// validateClaim gathers what Validate decides by: from caches, and once more live if the claim would be refused. Whoever permits another
// volume mode and makes the claim right after that may be ahead of every cache.
func (h *handlers) validateClaim(ctx context.Context, request *admissionv1.AdmissionRequest) (Result, error) {
	claim, old, err := claimsOf(request)
	if err != nil || claim == nil {
		return Admit{Reason: ReasonNotConcerned}, err
	}
	class, err := h.config.Lookups.class(claim)
	if err != nil {
		return nil, &undecidedError{ReasonLookupFailed, err}
	}
	facts := ValidateFacts{
		Driver: h.config.Driver, CrossNamespace: h.config.CrossNamespace,
		PreventModeConversion: h.config.PreventModeConversion, RequireSourceMode: h.config.RequireSourceMode,
		Old: old, Class: class,
	}
	if !needsSource(claim, facts) {
		facts.Source = &datasource.Facts{}
		return Validate(claim, facts), nil
	}
	reference, _ := datasource.Resolve(claim)
	if facts.Source = h.config.Lookups.cached(ctx, reference); facts.Source != nil {
		result := Validate(claim, facts)
		if _, refused := result.(Refuse); !refused {
			return result, nil
		}
	}
	facts.Source = h.readLive(ctx, reference)
	return Validate(claim, facts), nil
}

// needsSource reports whether the verdict depends on what the claim's data source is like.
func needsSource(claim *corev1.PersistentVolumeClaim, facts ValidateFacts) bool {
	reference, _ := datasource.Resolve(claim)
	return unjudged(claim, facts.Old, facts.Class, facts.Driver) == "" &&
		(reference.Kind == datasource.Snapshot || reference.Kind == datasource.Clone) &&
		(!reference.CrossNamespace || facts.CrossNamespace)
}

// readLive asks the API server about a source; nil: it could not be read in time.
func (h *handlers) readLive(ctx context.Context, reference datasource.Reference) *datasource.Facts {
	ctx, cancel := context.WithTimeout(ctx, h.limits.LiveBudget)
	defer cancel()
	facts, err := h.config.Lookups.Sources.Gather(ctx, reference)
	h.metrics.liveRead(err)
	if err != nil {
		h.config.Logger.Info("Could not read a claim's data source, so the claim is let in", "source", reference.Key(), "err", err)
		return nil
	}
	return &facts
}

// validateContent needs nothing but the review.
func (h *handlers) validateContent(_ context.Context, request *admissionv1.AdmissionRequest) (Result, error) {
	kind := metav1.GroupVersionKind{Group: snapshotv1.GroupName, Version: "v1", Kind: "VolumeSnapshotContent"}
	content, old, err := objectsOf[snapshotv1.VolumeSnapshotContent](request, kind)
	if err != nil || content == nil {
		return Admit{Reason: ReasonNotConcerned}, err
	}
	return ValidateContent(content, ContentFacts{
		Driver: h.config.Driver, Old: old, Trusted: h.config.TrustedSnapshotUsers,
		User: request.UserInfo.Username, Groups: request.UserInfo.Groups,
	}), nil
}

// claimsOf returns the claim under review, and before an update what it was; nil: the review is not about a claim. The namespace is the
// request's, whatever the object says.
func claimsOf(request *admissionv1.AdmissionRequest) (claim, old *corev1.PersistentVolumeClaim, err error) {
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}
	claim, old, err = objectsOf[corev1.PersistentVolumeClaim](request, kind)
	if claim != nil {
		claim.Namespace = cmp.Or(request.Namespace, claim.Namespace)
	}
	return claim, old, err
}

// objectsOf returns the object under review, and before an update what it was; nil: it is of another kind, or not created or updated.
func objectsOf[T any](request *admissionv1.AdmissionRequest, kind metav1.GroupVersionKind) (object, old *T, err error) {
	update := request.Operation == admissionv1.Update
	if request.Kind != kind || request.SubResource != "" || request.Operation != admissionv1.Create && !update {
		return nil, nil, nil
	}
	if object, err = read[T](request.Object.Raw); err != nil {
		return nil, nil, &undecidedError{ReasonUndecodable, fmt.Errorf("read the %s: %w", kind.Kind, err)}
	}
	if !update {
		return object, nil, nil
	}
	if old, err = read[T](request.OldObject.Raw); err != nil {
		return nil, nil, &undecidedError{ReasonUndecodable, fmt.Errorf("read the %s as it was before the update: %w", kind.Kind, err)}
	}
	return object, old, nil
}

// read decodes an object as the API server encodes it. The error tells where it is wrong, and nothing of what is in it.
func read[T any](raw []byte) (*T, error) {
	if len(raw) == 0 {
		return nil, errors.New("there is none in the review")
	}
	object := new(T)
	err := utiljson.Unmarshal(raw, object)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("field %q cannot be of type %s", wrong.Field, wrong.Type)
	}
	if err != nil {
		return nil, errors.New("it is not of the form that this version knows")
	}
	return object, nil
}
