package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
)

func TestPatch(t *testing.T) {
	set := []Change{{Key: "a.example/b~c", Value: "1"}, {Key: "d", Value: ""}}
	remove := []Change{{Key: "d", Remove: true}}
	tests := map[string]struct {
		raw     string
		changes []Change
		want    string
		err     string
	}{
		"nothing to change":           {`{"metadata":{}}`, nil, "", ""},
		"no map yet":                  {`{"metadata":{}}`, set, `[{"op":"add","path":"/metadata/annotations","value":{}},{"op":"add","path":"/metadata/annotations/a.example~1b~0c","value":"1"},{"op":"add","path":"/metadata/annotations/d","value":""}]`, ""},
		"a map that is null":          {`{"metadata":{"annotations":null}}`, set[1:], `[{"op":"add","path":"/metadata/annotations","value":{}},{"op":"add","path":"/metadata/annotations/d","value":""}]`, ""},
		"an empty map":                {`{"metadata":{"annotations":{}}}`, set[1:], `[{"op":"add","path":"/metadata/annotations/d","value":""}]`, ""},
		"another value":               {`{"metadata":{"annotations":{"d":"x"}}}`, set[1:], `[{"op":"add","path":"/metadata/annotations/d","value":""}]`, ""},
		"what is there is removed":    {`{"metadata":{"annotations":{"d":"x"}}}`, remove, `[{"op":"remove","path":"/metadata/annotations/d"}]`, ""},
		"what is not there is not":    {`{"metadata":{"annotations":{"e":"x"}}}`, remove, "", ""},
		"nothing to remove it from":   {`{"metadata":{}}`, remove, "", ""},
		"the last of two maps counts": {`{"metadata":{"annotations":{"d":"x"}},"metadata":{}}`, remove, "", ""},
		"no metadata":                 {`{}`, set, "", "no metadata"},
		"metadata that are null":      {`{"metadata":null}`, set, "", "no metadata"},
		"metadata that are a list":    {`{"metadata":[]}`, set, "", "no JSON object"},
		"annotations that are a text": {`{"metadata":{"annotations":"x"}}`, set, "", "no JSON object"},
		"no object":                   {`[]`, set, "", "no JSON object"},
		"nothing":                     {``, set, "", "no JSON object"},
		"another spelling":            {`{"Metadata":{}}`, set, "", "no metadata"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := patch([]byte(tt.raw), tt.changes)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %s, %v; want an error with %s", got, err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Fatalf("got  %s, %v\nwant %s", got, err, tt.want)
			}
			if tt.want != "" {
				applied(t, []byte(tt.raw), got)
			}
		})
	}
}

// applied applies a patch as the API server does, with its library.
func applied(tb testing.TB, raw, steps []byte) []byte {
	tb.Helper()
	if len(steps) == 0 {
		return raw
	}
	decoded, err := jsonpatch.DecodePatch(steps)
	if err != nil {
		tb.Fatalf("%s cannot be decoded: %v", steps, err)
	}
	after, err := decoded.Apply(raw)
	if err != nil {
		tb.Fatalf("%s does not apply to %s: %v", steps, raw, err)
	}
	return after
}

// mutated has a claim reviewed, and returns it as it is afterwards.
func mutated(tb testing.TB, h *handlers, raw []byte) []byte {
	tb.Helper()
	e := endpoint{"mutate-claim", h.mutateClaim, ""}
	response, _ := h.decide(tb.Context(), reviewOf(kindClaim(), raw, nil).Request, e)
	return applied(tb, raw, response.Patch)
}

// foreign is what is not ours in an object: everything but three annotations, and whether there is an empty map of them.
func foreign(tb testing.TB, raw []byte) map[string]any {
	tb.Helper()
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		tb.Fatalf("%s: %v", raw, err)
	}
	meta, _ := object["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	for _, key := range []string{keyGA, keyBeta, keyHint} {
		delete(annotations, key)
	}
	if len(annotations) == 0 {
		delete(meta, "annotations")
	}
	return object
}

// checkMutation checks what has to hold for any object at all.
func checkMutation(tb testing.TB, h *handlers, raw []byte) {
	tb.Helper()
	once := mutated(tb, h, raw)
	if twice := mutated(tb, h, once); !sameJSON(tb, once, twice) {
		tb.Errorf("%s\nonce  %s\ntwice %s", raw, once, twice)
	}
	if string(once) != string(raw) && !reflect.DeepEqual(foreign(tb, raw), foreign(tb, once)) {
		tb.Errorf("what is not ours was changed:\n%s\n%s", raw, once)
	}
}

func sameJSON(tb testing.TB, one, other []byte) bool {
	tb.Helper()
	if string(one) == string(other) {
		return true
	}
	var a, b any
	if err := json.Unmarshal(one, &a); err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(other, &b); err != nil {
		tb.Fatal(err)
	}
	return reflect.DeepEqual(a, b)
}

// crowd is a cache in which a claim can meet everything.
func crowd(tb testing.TB) *handlers {
	tb.Helper()
	source, volume := makeSource()
	snapshot, content := makeSnapshot(filesystem)
	static := makeVolume(func(volume *corev1.PersistentVolume) { volume.Name, volume.Spec.StorageClassName = "static", "static" })
	reserved := makeVolume(claimedBy("reserved", ""))
	reserved.Name = "reserved"
	slow := makeClass(waitForFirstConsumer)
	slow.Name = "slow"
	other := makeClass(classOf("other.example"))
	other.Name = "other"
	withStatic := makeClass()
	withStatic.Name = "static"
	config := testConfig(cached(tb, makeClass(), slow, other, withStatic, source, volume, snapshot, content, static, reserved,
		published("fast", "a", 10), published("fast", "b", 20)))
	return &handlers{config: config, limits: Limits{}.withDefaults(), metrics: newMetrics(nil)}
}

// TestPatchesApplyToAnyClaim makes claims of all kinds, with fields that this version does not know and maps that are missing, null or
// empty, and applies what comes of them with the API server's own library: never an error, twice is once, and nothing of others is touched.
func TestPatchesApplyToAnyClaim(t *testing.T) {
	h := crowd(t)
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(options ...any) any { return options[random.IntN(len(options))] }
	patched := 0
	for range 5000 {
		meta := map[string]any{"namespace": "ns", "name": pick("data", "web-data-1", "reserved", "a~b/c"), "new": map[string]any{"x": []any{1.5, nil}}}
		switch pick("missing", "null", "empty", "some", "some") {
		case "null":
			meta["annotations"] = nil
		case "empty":
			meta["annotations"] = map[string]any{}
		case "some":
			annotations := map[string]any{"kept": "ünï", "a/b": "c", "": "odd", "~1/a~b~": "tildes", "null": pick(nil, "")}
			for _, key := range []string{keyGA, keyBeta, keyHint, "volume.beta.kubernetes.io/storage-class"} {
				if value := pick(nil, nil, "", testDriver, "other.example", "v1;zone=b", "fast", "other"); value != nil {
					annotations[key] = value
				}
			}
			meta["annotations"] = annotations
		}
		spec := map[string]any{
			"storageClassName": pick("fast", "fast", "fast", "slow", "other", "static", "unknown", "", nil),
			"volumeMode":       pick("Filesystem", "Block", nil), "accessModes": []any{"ReadWriteOnce"}, "newField": 12345678901234567,
			"resources":  map[string]any{"requests": map[string]any{"storage": pick("1Gi", "15Gi", "1Ti", "0")}},
			"selector":   pick(nil, nil, nil, map[string]any{}),
			"volumeName": pick("", "", "pv"),
		}
		maps.Copy(spec, pick(map[string]any{}, map[string]any{"dataSource": map[string]any{"kind": "PersistentVolumeClaim", "name": "source"}},
			map[string]any{"dataSourceRef": map[string]any{"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "snap", "namespace": pick("", "far")}},
			map[string]any{"dataSourceRef": map[string]any{"apiGroup": "x", "kind": "Y", "name": "z"}}).(map[string]any))
		raw := marshal(t, map[string]any{"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": pick(nil, map[string]any{})})
		checkMutation(t, h, raw)
		if !sameJSON(t, raw, mutated(t, h, raw)) {
			patched++
		}
	}
	if patched < 500 {
		t.Errorf("only %d of 5000 claims were patched", patched)
	}
}

// FuzzMutate holds the whole mutating handler to the same for any object at all.
func FuzzMutate(f *testing.F) {
	h := crowd(f)
	for _, claim := range []*corev1.PersistentVolumeClaim{
		makeClaim(), makeClaim(fromSnapshot), makeClaim(fromClaim), makeClaim(fromFarSnapshot), makeClaim(fromPopulator), makeClaim(called("reserved")),
		makeClaim(annotated(keyGA, testDriver, keyBeta, testDriver, keyHint, "v1;zone=a")), makeClaim(ofClass("other"), annotated(keyGA, testDriver)),
		makeClaim(withoutClass), makeClaim(ofClass("static")), makeClaim(ofClass("slow")), makeClaim(annotated(keyHint, "zone=a")),
	} {
		f.Add(marshal(f, claim))
	}
	f.Add([]byte(`{"metadata":{"annotations":{"a":null}},"spec":{"storageClassName":"fast"}}`))
	f.Add([]byte(`{"metadata":{"annotations":{}},"metadata":{},"spec":{"storageClassName":"fast"}}`))
	f.Add([]byte(fmt.Sprintf(`{"metadata":{"annotations":{%q:"x",%q:"driver.example"}},"spec":{"storageClassName":"other"}}`, keyGA, keyGA)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // the API server encodes what it sends
		}
		checkMutation(t, h, raw)
	})
}

// FuzzValidate checks that the validating handlers answer any object, and refuse only with words.
func FuzzValidate(f *testing.F) {
	h := crowd(f)
	h.config.Lookups.Sources = liveSources(h.config.Lookups.asLive)
	for _, claim := range []*corev1.PersistentVolumeClaim{
		makeClaim(), makeClaim(fromSnapshot), makeClaim(fromSnapshot, ofMode(block)), makeClaim(fromClaim, ofMode(block)), makeClaim(fromFarSnapshot),
	} {
		f.Add(marshal(f, claim), []byte(nil))
		f.Add(marshal(f, claim), marshal(f, makeClaim(withoutClass)))
	}
	_, content := makeSnapshot(block)
	_, old := makeSnapshot("")
	f.Add(marshal(f, content), marshal(f, old))
	f.Fuzz(func(t *testing.T, object, old []byte) {
		if !json.Valid(object) || len(old) > 0 && !json.Valid(old) {
			return
		}
		for path, e := range map[string]endpoint{
			PathValidateClaim: {"claim", h.validateClaim, "w"}, PathValidateContent: {"content", h.validateContent, "w"},
		} {
			kind := kindClaim()
			if path == PathValidateContent {
				kind = kindContent()
			}
			review := reviewOf(kind, object, old)
			response, counted := h.decide(t.Context(), review.Request, e)
			if counted.reason == "" || counted.reason == ReasonPanic || counted.decision == decisionPatched {
				t.Errorf("%+v", counted)
			}
			if !response.Allowed && (response.Result == nil || response.Result.Message == "" || counted.decision != decisionRefused) {
				t.Errorf("refused without a word: %+v, %+v", counted, response)
			}
		}
	})
}
