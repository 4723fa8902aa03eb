package csi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"github.com/kubernetes-csi/csi-lib-utils/connection"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/berth-csi/berth/topology"
)

func TestClassify(t *testing.T) {
	// Every code that gRPC has, so that a new reading of one is a decision somebody made.
	classes := map[codes.Code]struct{ create, delete Class }{
		codes.Canceled:           {Unknown, Unknown},
		codes.Unknown:            {Failed, Failed},
		codes.InvalidArgument:    {Infeasible, Failed},
		codes.DeadlineExceeded:   {Unknown, Unknown},
		codes.NotFound:           {Infeasible, Failed},
		codes.AlreadyExists:      {Failed, Failed},
		codes.PermissionDenied:   {Failed, Failed},
		codes.ResourceExhausted:  {Exhausted, Failed},
		codes.FailedPrecondition: {Failed, Failed},
		codes.Aborted:            {Unknown, Unknown},
		codes.OutOfRange:         {Infeasible, Failed},
		codes.Unimplemented:      {Failed, Failed},
		codes.Internal:           {Failed, Failed},
		codes.Unavailable:        {Unknown, Unknown},
		codes.DataLoss:           {Failed, Failed},
		codes.Unauthenticated:    {Failed, Failed},
	}
	for code := codes.OK + 1; code <= codes.Unauthenticated; code++ {
		want, ok := classes[code]
		if !ok {
			t.Fatalf("code %s has no row", code)
		}
		err := status.Error(code, "words")
		for operation, class := range map[Operation]Class{CreateVolume: want.create, DeleteVolume: want.delete} {
			got := Classify(operation, err)
			if diff := cmp.Diff(Outcome{Class: class, Code: code, Message: "words"}, got); diff != "" {
				t.Errorf("operation %d, %s: %s", operation, code, diff)
			}
			if wrapped := Classify(operation, fmt.Errorf("create: %w", err)); wrapped.Class != class {
				t.Errorf("operation %d, %s wrapped: got %s, want %s", operation, code, wrapped.Class, class)
			}
		}
	}
}

func TestClassifyWithoutStatus(t *testing.T) {
	if got := Classify(CreateVolume, nil); got.Class != Done {
		t.Errorf("no error is %s", got.Class)
	}
	for _, err := range []error{errors.New("broken pipe"), context.DeadlineExceeded, context.Canceled} {
		if got := Classify(CreateVolume, err); got.Class != Unknown || got.Message != err.Error() {
			t.Errorf("%v is %s %q, want unknown and its words", err, got.Class, got.Message)
		}
	}
}

func TestOutcomeReadsWell(t *testing.T) {
	for want, err := range map[string]error{
		"done":                         nil,
		"ResourceExhausted: pool full": status.Error(codes.ResourceExhausted, "pool full"),
		"Internal":                     status.Error(codes.Internal, ""),
	} {
		if got := Classify(CreateVolume, err).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	tests := map[string]struct{ want, err string }{
		"/run/csi/socket":        {want: "unix:///run/csi/socket"},
		"unix:///run/csi/socket": {want: "unix:///run/csi/socket"},
		"":                       {err: "is empty"},
		"unix://":                {err: "is empty"},
		"csi.sock":               {err: "not an absolute path"},
		"tcp://127.0.0.1:1":      {err: "not a unix socket"},
		"unix://csi.sock":        {err: "not a unix socket"},
	}
	for address, tt := range tests {
		got, err := Endpoint(address)
		switch {
		case tt.err == "" && (err != nil || got != tt.want):
			t.Errorf("%q: got %q, %v, want %q", address, got, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: got error %v, want one with %q", address, err, tt.err)
		}
	}
}

func TestTopologyConversion(t *testing.T) {
	a, b := topology.NewSegment(map[string]string{"zone": "a"}), topology.NewSegment(map[string]string{"zone": "b"})
	if got := TopologyRequirement(nil); got != nil {
		t.Errorf("no need became %v", got)
	}
	got := TopologyRequirement(&topology.Requirement{Requisite: []topology.Segment{a, b}, Preferred: []topology.Segment{b, a}})
	pb := func(zone string) *csipb.Topology { return &csipb.Topology{Segments: map[string]string{"zone": zone}} }
	want := &csipb.TopologyRequirement{Requisite: []*csipb.Topology{pb("a"), pb("b")}, Preferred: []*csipb.Topology{pb("b"), pb("a")}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	// A nil topology is what the specification forbids and a driver may send all the same.
	segments := Segments([]*csipb.Topology{pb("a"), nil, {}})
	if len(segments) != 3 || segments[0] != a || !segments[1].IsZero() || !segments[2].IsZero() {
		t.Errorf("got %v", segments)
	}
}

func TestContentSource(t *testing.T) {
	if got := ContentSource("", ""); got != nil {
		t.Errorf("an empty volume is made from %v", got)
	}
	if got := ContentSource("snapshot", ""); got.GetSnapshot().GetSnapshotId() != "snapshot" || got.GetVolume() != nil {
		t.Errorf("a snapshot's handle became %v", got)
	}
	if got := ContentSource("", "volume"); got.GetVolume().GetVolumeId() != "volume" || got.GetSnapshot() != nil {
		t.Errorf("a volume's handle became %v", got)
	}
}

// fullRequest has every field set that CreateVolumeRequest has, those of the next version of the specification too.
func fullRequest(t *testing.T) *csipb.CreateVolumeRequest {
	t.Helper()
	request := &csipb.CreateVolumeRequest{}
	message := request.ProtoReflect()
	for fields, i := message.Descriptor().Fields(), 0; i < fields.Len(); i++ {
		switch field := fields.Get(i); {
		case field.IsMap():
			message.Mutable(field).Map().Set(protoreflect.ValueOfString("key").MapKey(), protoreflect.ValueOfString("value"))
		case field.IsList():
			message.Mutable(field).List().AppendMutable()
		case field.Kind() == protoreflect.MessageKind:
			message.Mutable(field)
		case field.Kind() == protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString("value"))
		default:
			t.Fatalf("field %s is of kind %s, which this test cannot set", field.Name(), field.Kind())
		}
	}
	return request
}

func TestWithSecretsChangesNothingButTheSecrets(t *testing.T) {
	request := fullRequest(t)
	before := proto.Clone(request)
	want := proto.CloneOf(request)
	want.Secrets = map[string]string{"user": "admin"}
	got := WithSecrets(request, map[string]string{"user": "admin"})
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, request, protocmp.Transform()); diff != "" {
		t.Errorf("the request itself changed: %s", diff)
	}
	for _, none := range []map[string]string{nil, {}} {
		if got := WithSecrets(request, none); got != request {
			t.Error("a request without secrets was made anew")
		}
	}
}

func TestCallsForInTreeVolumesAreMarked(t *testing.T) {
	if got := Migrated(t.Context(), false); got != t.Context() {
		t.Error("a call for a volume of the driver's own is marked")
	}
	if got, ok := Migrated(t.Context(), true).Value(connection.AdditionalInfoKey).(connection.AdditionalInfo); !ok || got.Migrated != "true" {
		t.Errorf("got %v", got)
	}
}

func TestAnAnswerThatCannotBeReadTellsNothing(t *testing.T) {
	for _, err := range []error{
		status.Error(codes.Internal, "grpc: failed to unmarshal the received message: string field contains invalid UTF-8"),
		status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5000000 vs. 4194304)"),
	} {
		if got := Classify(CreateVolume, err); got.Class != Unknown {
			t.Errorf("%v is %s: the driver's handler is done, so there may be a volume", err, got.Class)
		}
	}
}
