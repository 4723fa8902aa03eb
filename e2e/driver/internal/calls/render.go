package calls

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// stripped stands for the value of a secret. The established sanitizer uses the same word, but replaces the whole map
// of secrets by it, and what it renders is not protojson: such a line could not be read back as the request it was.
const stripped = "***stripped***"

// render is a message as protojson on one line, with the field names of the .proto file and without secrets.
func render(m proto.Message) json.RawMessage {
	if m == nil || !m.ProtoReflect().IsValid() {
		return nil
	}
	if r, ok := m.(*csipb.CreateVolumeRequest); ok {
		if t := r.GetAccessibilityRequirements(); len(t.GetRequisite())+len(t.GetPreferred()) > manyTerms {
			return renderApart(r)
		}
	}
	if hasSecrets(m.ProtoReflect()) {
		m = proto.Clone(m)
		strip(m.ProtoReflect())
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil { // a string that is not UTF-8; gRPC rejects those before they get here
		raw, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	// protojson puts spaces in at random so that nobody relies on its text; take them out again.
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return raw
	}
	return compact.Bytes()
}

// manyTerms is from where on a requirement is rendered by appendTerms.
const manyTerms = 64

// renderApart renders a request with the requirement rendered on its own. Requests that name thousands of segments are
// normal for a driver with as many, and reflection over them would cost several times what the call itself does.
func renderApart(r *csipb.CreateVolumeRequest) json.RawMessage {
	rest := r.ProtoReflect().New()
	r.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if field.Name() != "accessibility_requirements" {
			rest.Set(field, v) // shared, and only read: render clones what it strips
		}
		return true
	})
	b := render(rest.Interface())
	b = b[:len(b)-1] // the closing brace
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, `"accessibility_requirements":{`...)
	t := r.GetAccessibilityRequirements()
	if len(t.GetRequisite()) > 0 {
		b = appendTerms(append(b, `"requisite":`...), t.GetRequisite())
	}
	if len(t.GetPreferred()) > 0 {
		if len(t.GetRequisite()) > 0 {
			b = append(b, ',')
		}
		b = appendTerms(append(b, `"preferred":`...), t.GetPreferred())
	}
	return append(b, "}}"...)
}

func appendTerms(b []byte, terms []*csipb.Topology) []byte {
	for i, term := range terms {
		b = append(b, "[,"[min(i, 1)])
		if len(term.GetSegments()) == 0 {
			b = append(b, "{}"...)
			continue
		}
		b = append(b, `{"segments":`...)
		open := byte('{')
		for k, v := range term.GetSegments() {
			b = appendQuoted(append(b, open), k)
			b = appendQuoted(append(b, ':'), v)
			open = ','
		}
		b = append(b, "}}"...)
	}
	return append(b, ']')
}

// appendQuoted quotes a string; those of topology never need escapes.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// hasSecrets says whether a secret field is set. In CSI secrets are always maps in the request itself; strip, which
// goes deeper, is for any that come later, as is walking messages here.
func hasSecrets(m protoreflect.Message) bool {
	found := false
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case secret(field):
			found = true
		case field.Message() != nil && !field.IsList() && !field.IsMap():
			found = hasSecrets(v.Message())
		}
		return !found
	})
	return found
}

func strip(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case secret(field) && field.IsMap():
			entries := v.Map()
			entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
				entries.Set(k, protoreflect.ValueOfString(stripped))
				return true
			})
		case secret(field) && field.Kind() == protoreflect.StringKind && !field.IsList():
			m.Set(field, protoreflect.ValueOfString(stripped))
		case secret(field):
			m.Clear(field)
		case field.Message() != nil && !field.IsList() && !field.IsMap():
			strip(v.Message())
		}
		return true
	})
}

func secret(field protoreflect.FieldDescriptor) bool {
	marked, _ := proto.GetExtension(field.Options(), csipb.E_CsiSecret).(bool)
	return marked
}

// appendTo appends the line. It is written out because encoding/json would parse and copy the rendered messages again,
// which for a request that names thousands of segments costs more than the call.
func (e line) appendTo(b []byte) ([]byte, error) {
	text, err := json.Marshal(e.Error)
	if err != nil {
		return nil, err
	}
	b = append(b, `{"seq":`...)
	b = strconv.AppendInt(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","pid":`...)
	b = strconv.AppendInt(b, int64(e.PID), 10)
	b = append(b, `,"method":"`...)
	b = append(b, e.Method...)
	b = append(b, `","request":`...)
	b = append(b, e.Request...)
	b = append(b, `,"response":`...)
	if len(e.Response) > 0 {
		b = append(b, e.Response...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"code":"`...)
	b = append(b, e.Code...)
	b = append(b, `","error":`...)
	b = append(b, text...)
	b = append(b, `,"seconds":`...)
	b = strconv.AppendFloat(b, e.Seconds, 'f', 6, 64)
	b = append(b, `,"fault":"`...)
	b = append(b, e.Fault...)
	return append(b, "\"}\n"...), nil
}
