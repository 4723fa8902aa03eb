package provisioner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/simtest"
)

// gateOf is the gate of a process's clients: it does each call at once, unless the story says otherwise, and tells what was done.
func (s *scenario) gateOf(c **Controller) simtest.Gate {
	return func(_ context.Context, call *simtest.Call) (simtest.Object, error) {
		if s.c != *c {
			return nil, errKilled
		}
		what := call.Verb + " " + scenarioKind(call.Kind)
		if call.Status {
			what += " status"
		}
		if s.trapped("before " + what) {
			return nil, errKilled
		}
		before := s.server.Find(call.Kind, call.Key)
		answer, err, note := s.fate(call, what)
		s.tellCall(call, before, err, note)
		if s.trapped("after " + what) {
			return nil, errKilled
		}
		return answer, err
	}
}

// scenarioKind is the word for a kind.
func scenarioKind(kind simtest.Kind) string {
	switch kind {
	case simtest.ConfigMaps:
		return "journal"
	case simtest.CSINodes:
		return "registration"
	case simtest.Contents:
		return "content"
	default:
	}
	for word, kinds := range scenarioKinds {
		if kinds[0] == kind {
			return word
		}
	}
	return string(kind)
}

// trapped kills the process if this is what it was to be killed at.
func (s *scenario) trapped(at string) bool {
	if s.trap != at {
		return false
	}
	s.trap = ""
	s.say("killed %s", at)
	c := s.c
	s.c = nil
	s.kill()
	go func() { // the story's goroutine may be in the middle of its work
		<-s.running
		discardLoop(c.claimLoop)
		discardLoop(c.volumeLoop)
		discardLoop(c.sourceLoop)
		discardLoop(c.bindLoop)
		discardLoop(c.events.loop)
	}()
	return true
}

// fate does a call, or not.
func (s *scenario) fate(call *simtest.Call, what string) (answer simtest.Object, err error, note string) { //nolint:revive,staticcheck // the error is not the last word on it
	if call.Writes() && s.forbidden != "" && strings.HasSuffix(what, s.forbidden) {
		return nil, apierrors.NewForbidden(call.Kind.Resource(), call.Key, errors.New("the role lacks it")), ""
	}
	for i, fault := range s.faults {
		if fault.call != what {
			continue
		}
		s.faults = slices.Delete(s.faults, i, i+1)
		switch fault.how {
		case "lost":
			_, _ = call.Do()
			return nil, errors.New("connection reset"), "done, but the answer is lost"
		case "refused":
			return nil, errors.New("connection refused"), ""
		case "forbidden":
			return nil, apierrors.NewForbidden(call.Kind.Resource(), call.Key, errors.New("the role lacks it")), ""
		}
	}
	answer, err = call.Do()
	return answer, err, ""
}

// tellCall tells what a call did. What was read and found is not told.
func (s *scenario) tellCall(call *simtest.Call, before simtest.Object, err error, note string) {
	after := s.server.Find(call.Kind, call.Key)
	name := call.Key[strings.LastIndex(call.Key, "/")+1:]
	words := call.Verb + " " + scenarioKind(call.Kind) + " " + name
	if call.Status {
		words = call.Verb + " status of " + scenarioKind(call.Kind) + " " + name
	}
	switch {
	case call.Kind == simtest.ConfigMaps && !call.Writes():
		return
	case call.Kind == simtest.ConfigMaps && err == nil:
		words = "journal: " + strings.Join(journalChanges(before, after), ", ")
	case call.Verb == "get" && err == nil:
		return
	case call.Verb == "create" && call.Kind == simtest.Volumes:
		if pv, ok := call.Object.(*corev1.PersistentVolume); ok {
			words = fmt.Sprintf("create volume %s: %s for claim %s, %s", name, pv.Spec.CSI.VolumeHandle, pv.Spec.ClaimRef.UID, pv.Spec.PersistentVolumeReclaimPolicy)
		}
	case call.Verb == "patch" || call.Verb == "update":
		if changes := differences(before, after); len(changes) > 0 {
			words += ": " + strings.Join(changes, ", ")
		}
	}
	switch {
	case note != "":
		words += " (" + note + ")"
	case apierrors.IsNotFound(err):
		words += " (there is none)"
	case apierrors.IsAlreadyExists(err):
		words += " (there is one)"
	case err != nil:
		words += fmt.Sprintf(" (%v)", err)
	}
	s.say("%s", words)
}

// journalChanges are what a write of the journal did.
func journalChanges(before, after simtest.Object) (changes []string) {
	old, _ := before.(*corev1.ConfigMap)
	page, _ := after.(*corev1.ConfigMap)
	if old == nil {
		old = &corev1.ConfigMap{}
		changes = append(changes, "a page is made")
		if strings.HasSuffix(page.Name, "-unreadable") {
			changes = []string{"what cannot be read is kept aside"}
		}
	} else if !maps.Equal(old.Annotations, page.Annotations) {
		changes = append(changes, "taken over")
	}
	for _, uid := range slices.Sorted(maps.Keys(page.BinaryData)) {
		if _, ok := old.BinaryData[uid]; !ok {
			changes = append(changes, uid+" is on record")
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(old.BinaryData)) {
		if _, ok := page.BinaryData[uid]; !ok {
			changes = append(changes, uid+" is off the record")
		}
	}
	if len(changes) == 0 {
		return []string{"nothing new"}
	}
	return changes
}

// differences are what a write changed.
func differences(before, after simtest.Object) (changes []string) {
	if before == nil {
		return nil
	}
	left := []string(nil)
	if after == nil {
		changes = append(changes, "it is gone")
	} else {
		left = after.GetFinalizers()
	}
	for _, finalizer := range left {
		if !slices.Contains(before.GetFinalizers(), finalizer) {
			changes = append(changes, "+ "+finalizer)
		}
	}
	for _, finalizer := range before.GetFinalizers() {
		if !slices.Contains(left, finalizer) {
			changes = append(changes, "- "+finalizer)
		}
	}
	if after == nil {
		return changes
	}
	for _, key := range slices.Sorted(maps.Keys(before.GetAnnotations())) {
		if _, ok := after.GetAnnotations()[key]; !ok {
			changes = append(changes, "- "+key)
		}
	}
	return append(changes, bindingChanges(before, after)...)
}

// bindingChanges are what a write changed of what binds a claim and a volume.
func bindingChanges(before, after simtest.Object) (changes []string) {
	for _, key := range slices.Sorted(maps.Keys(after.GetAnnotations())) {
		if _, ok := before.GetAnnotations()[key]; !ok {
			changes = append(changes, "+ "+key)
		}
	}
	switch now := after.(type) {
	case *corev1.PersistentVolumeClaim:
		old, _ := before.(*corev1.PersistentVolumeClaim)
		if old.Spec.VolumeName != now.Spec.VolumeName {
			changes = append(changes, "bound to "+now.Spec.VolumeName)
		}
		if old.Status.Phase != now.Status.Phase {
			changes = append(changes, fmt.Sprintf("%s, %s, %v", now.Status.Phase, now.Status.Capacity.Storage(), now.Status.AccessModes))
		}
	case *corev1.PersistentVolume:
		if old, _ := before.(*corev1.PersistentVolume); old.Status.Phase != now.Status.Phase {
			changes = append(changes, string(now.Status.Phase))
		}
	}
	return changes
}

// scenarioDriver is the driver as a process sees it.
type scenarioDriver struct {
	s *scenario
	c **Controller
}

// scenarioAnswers are the errors that the driver can be told to give.
var scenarioAnswers = map[string]codes.Code{
	"lost": codes.DeadlineExceeded, "slow": codes.DeadlineExceeded, "aborted": codes.Aborted, "unavailable": codes.Unavailable,
	"exhausted": codes.ResourceExhausted, "infeasible": codes.InvalidArgument, "failed": codes.Internal,
}

// CreateVolume implements Driver.
func (d scenarioDriver) CreateVolume(_ context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	s := d.s
	if s.c != *d.c || s.trapped("before CreateVolume") {
		return nil, errKilled
	}
	operation, err := s.driver.BeginCreate(request)
	var volume *csipb.Volume
	how := next(&s.creates)
	if err == nil {
		volume, err = s.answer(operation, how)
	}
	words := "CreateVolume " + described(request)
	switch {
	case how == "lost":
		words += fmt.Sprintf(" -> done, but the answer is %s", csi.Classify(csi.CreateVolume, err).Code)
	case err != nil:
		words += fmt.Sprintf(" -> %s", csi.Classify(csi.CreateVolume, err))
	default:
		words += " -> " + volume.GetVolumeId()
	}
	s.say("%s", words)
	if s.trapped("after CreateVolume") {
		return nil, errKilled
	}
	return volume, err
}

// answer has an operation end as the story wants it.
func (s *scenario) answer(operation *simtest.Operation, how string) (*csipb.Volume, error) {
	code, fails := scenarioAnswers[how]
	switch how {
	case "lost":
		_, _ = operation.Do(nil)
	case "slow":
		s.pending = append(s.pending, operation)
	case "smaller":
		return operation.Do(func(v *csipb.Volume) { v.CapacityBytes /= 2 })
	case "empty":
		return operation.Do(func(v *csipb.Volume) { v.ContentSource = nil })
	default:
		if !fails {
			return operation.Do(nil)
		}
		operation.Drop()
	}
	return nil, status.Error(code, "words of the driver")
}

// DeleteVolume implements Driver.
func (d scenarioDriver) DeleteVolume(_ context.Context, request *csipb.DeleteVolumeRequest) error {
	s := d.s
	if s.c != *d.c || s.trapped("before DeleteVolume") {
		return errKilled
	}
	operation, err := s.driver.BeginDelete(request.GetVolumeId())
	how := next(&s.deletes)
	if err == nil {
		_, err = s.answer(operation, how)
	}
	words := "DeleteVolume " + request.GetVolumeId()
	if len(request.GetSecrets()) > 0 {
		words += " with secrets"
	}
	switch {
	case how == "lost":
		words += fmt.Sprintf(" -> done, but the answer is %s", csi.Classify(csi.DeleteVolume, err).Code)
	case err != nil:
		words += fmt.Sprintf(" -> %s", csi.Classify(csi.DeleteVolume, err))
	default:
		words += " -> done"
	}
	s.say("%s", words)
	if s.trapped("after DeleteVolume") {
		return errKilled
	}
	return err
}

// next takes the next word; empty if there is none.
func next(words *[]string) string {
	if len(*words) == 0 {
		return ""
	}
	word := (*words)[0]
	*words = (*words)[1:]
	return word
}

// described is a request as people would put it: what is asked for, where and from what.
func described(request *csipb.CreateVolumeRequest) string {
	words := []string{request.GetName(), resource.NewQuantity(request.GetCapacityRange().GetRequiredBytes(), resource.BinarySI).String()}
	for _, key := range slices.Sorted(maps.Keys(request.GetParameters())) {
		words = append(words, key+"="+request.GetParameters()[key])
	}
	for _, segment := range request.GetAccessibilityRequirements().GetPreferred() {
		for _, key := range slices.Sorted(maps.Keys(segment.GetSegments())) {
			words = append(words, "in "+key+" "+segment.GetSegments()[key])
		}
	}
	if snapshot := request.GetVolumeContentSource().GetSnapshot(); snapshot != nil {
		words = append(words, "from "+snapshot.GetSnapshotId())
	}
	if volume := request.GetVolumeContentSource().GetVolume(); volume != nil {
		words = append(words, "from "+volume.GetVolumeId())
	}
	if len(request.GetSecrets()) > 0 {
		words = append(words, "with secrets")
	}
	return strings.Join(words, " ")
}
