package simtest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// apply makes of an object what a patch says.
func apply(current Object, patchType types.PatchType, patch []byte) (Object, error) {
	document, err := json.Marshal(current)
	if err != nil {
		return nil, err
	}
	blank, _ := reflect.TypeAssert[Object](reflect.New(reflect.TypeOf(current).Elem()))
	switch patchType {
	case types.StrategicMergePatchType:
		if document, err = strategicpatch.StrategicMergePatch(document, patch, blank); err != nil {
			return nil, err
		}
	case types.MergePatchType, types.JSONPatchType:
		var tree any
		if err := json.Unmarshal(document, &tree); err != nil {
			return nil, err
		}
		if tree, err = change(tree, patchType, patch); err != nil {
			return nil, err
		}
		if document, err = json.Marshal(tree); err != nil {
			return nil, err
		}
	case types.ApplyYAMLPatchType, types.ApplyCBORPatchType:
		return nil, fmt.Errorf("patches of type %s are not known here", patchType)
	}
	return blank, json.Unmarshal(document, blank)
}

func change(tree any, patchType types.PatchType, patch []byte) (any, error) {
	if patchType == types.MergePatchType {
		var changes any
		if err := json.Unmarshal(patch, &changes); err != nil {
			return nil, err
		}
		return merge(tree, changes), nil
	}
	var operations []operation
	if err := json.Unmarshal(patch, &operations); err != nil {
		return nil, err
	}
	for _, o := range operations {
		if err := o.do(tree); err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.Op, o.Path, err)
		}
	}
	return tree, nil
}

// merge is RFC 7386.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged, ok := target.(map[string]any)
	if !ok {
		merged = map[string]any{}
	}
	for key, value := range changes {
		if value == nil {
			delete(merged, key)
		} else {
			merged[key] = merge(merged[key], value)
		}
	}
	return merged
}

// operation is one of RFC 6902, on members of objects.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func (o operation) do(tree any) error {
	steps := strings.Split(o.Path, "/")[1:]
	if len(steps) == 0 {
		return fmt.Errorf("the whole document is not meant")
	}
	for i, step := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	last := steps[len(steps)-1]
	parent := tree
	for _, step := range steps[:len(steps)-1] {
		members, _ := parent.(map[string]any)
		parent = members[step]
	}
	members, ok := parent.(map[string]any)
	if !ok {
		return fmt.Errorf("there is no such place")
	}
	value, exists := members[last]
	switch {
	case o.Op == "add":
		members[last] = o.Value
	case !exists && (o.Op != "test" || o.Value != nil):
		return fmt.Errorf("there is nothing")
	case o.Op == "test" && !reflect.DeepEqual(value, o.Value):
		return fmt.Errorf("it is %v", value)
	case o.Op == "replace":
		members[last] = o.Value
	case o.Op == "remove":
		delete(members, last)
	case o.Op != "test":
		return fmt.Errorf("the operation is not known here")
	}
	return nil
}
