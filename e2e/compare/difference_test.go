package main

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFieldsAreCompared(t *testing.T) {
	for name, test := range map[string]struct {
		peer, berth string
		want        []difference
	}{
		"the same":                                   {`{"a":[1,{"b":null}]}`, `{"a":[1,{"b":null}]}`, nil},
		"the same, in another order of keys":         {`{"a":1,"b":2}`, `{"b":2,"a":1}`, nil},
		"another value":                              {`{"a":{"b":1}}`, `{"a":{"b":2}}`, []difference{{Path: "a.b", Peer: 1.0, Berth: 2.0}}},
		"a field that is missing":                    {`{"a":{"b":1}}`, `{"a":{}}`, []difference{{Path: "a.b", Peer: 1.0}}},
		"a field too many":                           {`{}`, `{"a":{"b":1}}`, []difference{{Path: "a", Berth: map[string]any{"b": 1.0}}}},
		"a field that is null is as good as missing": {`{"a":null}`, `{}`, nil},
		"an empty text is not as good as missing":    {`{"a":""}`, `{}`, []difference{{Path: "a", Peer: ""}}},
		"a key with dots and slashes": {
			`{"annotations":{"pv.kubernetes.io/x":"1"}}`, `{"annotations":{"pv.kubernetes.io/x":"2"}}`,
			[]difference{{Path: "annotations[pv.kubernetes.io/x]", Peer: "1", Berth: "2"}},
		},
		"a list of texts": {`{"a":["x","y"]}`, `{"a":["x"]}`, []difference{{Path: "a", Peer: []any{"x", "y"}, Berth: []any{"x"}}}},
		"a list in another order": {
			`{"a":["x","y"]}`, `{"a":["y","x"]}`,
			[]difference{{Path: "a (order)", Peer: []any{"x", "y"}, Berth: []any{"y", "x"}}},
		},
		"a list of objects in another order": {
			`{"a":[{"k":1},{"k":2}]}`, `{"a":[{"k":2},{"k":1}]}`,
			[]difference{{
				Path: "a (order)", Peer: []any{map[string]any{"k": 1.0}, map[string]any{"k": 2.0}},
				Berth: []any{map[string]any{"k": 2.0}, map[string]any{"k": 1.0}},
			}},
		},
		"an element of a list of objects": {
			`{"a":[{"k":1},{"k":2}]}`, `{"a":[{"k":1},{"k":3}]}`, []difference{{Path: "a[1].k", Peer: 2.0, Berth: 3.0}},
		},
		"an element too many": {
			`{"a":[{"k":1}]}`, `{"a":[{"k":1},{"k":2}]}`, []difference{{Path: "a[1]", Berth: map[string]any{"k": 2.0}}},
		},
		"another type": {`{"a":"1"}`, `{"a":1}`, []difference{{Path: "a", Peer: "1", Berth: 1.0}}},
		"several": {
			`{"a":1,"b":2,"c":3}`, `{"a":0,"b":2,"d":4}`,
			[]difference{{Path: "a", Peer: 1.0, Berth: 0.0}, {Path: "c", Peer: 3.0}, {Path: "d", Berth: 4.0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := compareTrees("", parsed(t, test.peer), parsed(t, test.berth))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func parsed(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}
