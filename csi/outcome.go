package csi

import (
	"google.golang.org/grpc/codes"
)

// Class is what an answer means for what exists now. It is a closed set.
type Class int

const (
	// Done: the operation is complete.
	Done Class = iota
	// Unknown: it may have been done, may be under way, or may never have started. Only the same request again can tell.
	Unknown
	// Infeasible: nothing was done, and the same request will not succeed until somebody changes what it is made from.
	Infeasible
	// Exhausted: nothing was done for lack of room where it was asked for; another place may have room.
	Exhausted
	// Failed: nothing was done; trying again later may help.
	Failed
)

// String is the class as a metric label or log value.
func (c Class) String() string {
	switch c {
	case Done:
		return "done"
	case Unknown:
		return "unknown"
	case Infeasible:
		return "infeasible"
	case Exhausted:
		return "exhausted"
	case Failed:
		return "failed"
	}
	return "invalid"
}

// Operation is a CSI call whose answer is to be classified. The same code means different things for different calls.
type Operation int

const (
	// CreateVolume is ControllerService.CreateVolume.
	CreateVolume Operation = iota
	// DeleteVolume is ControllerService.DeleteVolume.
	DeleteVolume
)

// Outcome is a classified answer.
type Outcome struct {
	Class   Class
	Code    codes.Code // OK for Done
	Message string     // what the driver, or the connection to it, said
}

// Classify says what the result of a call means. It is the only reader of gRPC codes in this project.
//
// An error without a status is Unknown: it did not come from the driver's handler, so nobody knows what the handler did. The same goes for
// an answer that came and could not be read. Of
// the others, four say that the call's fate was not learned (CSI spec, "Error Scheme" and "Timeouts"):
//
//	Canceled, DeadlineExceeded  we stopped waiting; the driver may go on
//	Unavailable                 the connection broke, before or after the work
//	Aborted                     another operation for the same volume is pending, so the outcome is that one's
//
// For CreateVolume the specification ("CreateVolume Errors") has three codes for a request that cannot succeed as it is:
// InvalidArgument (wrong in itself, or an unsupported combination), NotFound (the source does not exist) and OutOfRange (the
// capacity is not supported). ResourceExhausted is its code for "unable to provision in accessible_topology". Every other code
// is an answer after which no volume exists. For DeleteVolume every error only means "not deleted yet".
func Classify(operation Operation, err error) Outcome {
	if err == nil {
		return Outcome{Class: Done, Code: codes.OK}
	}
	code, message, ok := grpcCode(err)
	outcome := Outcome{Class: Failed, Code: code, Message: message}
	if !ok {
		outcome.Class = Unknown
		return outcome
	}
	switch code {
	case codes.OK:
		outcome.Class = Unknown // an error that says OK: the answer could not be read
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Aborted:
		outcome.Class = Unknown
	case codes.InvalidArgument, codes.NotFound, codes.OutOfRange:
		if operation == CreateVolume {
			outcome.Class = Infeasible
		}
	case codes.ResourceExhausted:
		if operation == CreateVolume {
			outcome.Class = Exhausted
		}
	default:
	}
	return outcome
}

// String is what people read in events: the code, then the words.
func (o Outcome) String() string {
	if o.Class == Done {
		return "done"
	}
	if o.Message == "" {
		return o.Code.String()
	}
	return o.Code.String() + ": " + o.Message
}
