package webhook

import (
	"encoding/json"
	"errors"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"` // an empty map or text is written, only nil is left out
}

const annotationsPath = "/metadata/annotations"

// patch makes the JSON patch that changes an object's annotations and nothing else; nil if there is nothing to change.
//
// It is computed on the object as it was sent, never on a decoded one: a patch that does not apply fails the request even under
// failurePolicy Ignore, and what this version does not know must survive. So a map that is missing, or null, is made first; "add" is used
// throughout, which also replaces (RFC 6902, section 4.1); and only what is there is removed.
func patch(raw []byte, changes []Change) ([]byte, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	have, exists, err := annotations(raw)
	if err != nil {
		return nil, err
	}
	var steps []operation
	for _, change := range changes {
		path := annotationsPath + "/" + escape(change.Key)
		if change.Remove {
			if _, present := have[change.Key]; present {
				steps = append(steps, operation{Op: "remove", Path: path})
			}
			continue
		}
		if !exists {
			exists = true
			steps = append(steps, operation{Op: "add", Path: annotationsPath, Value: map[string]string{}})
		}
		steps = append(steps, operation{Op: "add", Path: path, Value: change.Value})
	}
	if len(steps) == 0 {
		return nil, nil
	}
	return json.Marshal(steps)
}

// annotations finds the annotations of an object, and whether there is a map of them. Where a key stands twice the last one counts, as it
// does for who applies the patch.
func annotations(raw []byte) (all map[string]json.RawMessage, exist bool, err error) {
	var object, meta map[string]json.RawMessage
	if err := utiljson.Unmarshal(raw, &object); err != nil {
		return nil, false, errors.New("read the object: it is no JSON object")
	}
	if err := utiljson.Unmarshal(orNull(object["metadata"]), &meta); err != nil {
		return nil, false, errors.New("read the object's metadata: they are no JSON object")
	}
	if meta == nil {
		return nil, false, errors.New("the object has no metadata")
	}
	if err := utiljson.Unmarshal(orNull(meta["annotations"]), &all); err != nil {
		return nil, false, errors.New("read the object's annotations: they are no JSON object")
	}
	return all, all != nil, nil
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

// escape makes a key part of a JSON pointer (RFC 6901, section 3). A Replacer would cost more memory to make than all the rest of a review.
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
