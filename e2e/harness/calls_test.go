package harness

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCallsAreReadWhileTheyAreWritten(t *testing.T) {
	d := &Driver{CallLog: filepath.Join(t.TempDir(), "calls.jsonl")}
	if err := os.WriteFile(d.CallLog, []byte(
		`{"seq":1,"method":"CreateVolume","request":{"name":"pvc-1","capacity_range":{"required_bytes":"5"}},"code":"OK"}`+"\n"+
			`{"seq":2,"method":"Create{"seq":1,"method":"Probe"}`+"\n"+ // a driver was killed here
			`{"seq":2,"method":"DeleteVolume","request":{"volume_id":"v-1"},"code":"OK"}`+"\n"+
			`{"seq":3,"method":"DeleteVol`), 0o600); err != nil {
		t.Fatal(err)
	}
	calls, err := d.readCalls()
	if err != nil || len(calls) != 2 {
		t.Fatalf("got %v (%v), want two calls", calls, err)
	}
	if calls[0].Subject() != "pvc-1" || calls[1].Subject() != "v-1" {
		t.Errorf("subjects are %q and %q", calls[0].Subject(), calls[1].Subject())
	}
	request, err := calls[0].CreateVolume()
	if err != nil || request.CapacityRange.RequiredBytes != 5 {
		t.Errorf("got %+v (%v)", request, err)
	}
}

func TestRequestsAreTheSameWhateverTheirWhiteSpace(t *testing.T) {
	one := Call{Request: []byte(`{"name":"a", "parameters":{"x":"1","y":"2"}}`)}
	for name, test := range map[string]struct {
		request string
		want    bool
	}{
		"other space and order":  {`{"parameters": {"y":"2",  "x":"1"},"name":"a"}`, true},
		"another value":          {`{"name":"a","parameters":{"x":"1","y":"3"}}`, false},
		"a field less":           {`{"name":"a"}`, false},
		"not to be read":         {`{"name":`, false},
		"a list in other order":  {`{"name":"a","parameters":{"x":"1","y":"2"},"l":[2,1]}`, false},
		"nothing but the fields": {`{"name":"a","parameters":{"x":"1","y":"2"}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := one.SameRequest(Call{Request: []byte(test.request)}); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
