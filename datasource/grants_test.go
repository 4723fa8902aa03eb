package datasource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"
)

func TestGrantsComeFromMemoryOnceTheyAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := makeGrant(func(grant *gatewayv1beta1.ReferenceGrant) { grant.Namespace = "other" })
		client := gatewayfake.NewClientset(makeGrant(func(grant *gatewayv1beta1.ReferenceGrant) {
			grant.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		}), other)
		api := fragile{}
		api.stand(&client.Fake, "list", "referencegrants")
		grants := NewGrantWatch(client, 0)
		added := 0
		grants.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { added++ }})
		want := func(lists int, want ...*gatewayv1beta1.ReferenceGrant) {
			t.Helper()
			before := api.asked()
			got, served, err := grants.List(t.Context(), "far")
			for _, grant := range got {
				grant.ManagedFields = nil
			}
			if diff := cmp.Diff(want, got); diff != "" || !served || err != nil || api.asked() != before+lists {
				t.Errorf("asked %d times: %v %s", api.asked()-before, err, diff)
			}
		}
		want(1, makeGrant())

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			grants.Run(ctx)
		}()
		defer func() {
			cancel()
			<-done
		}()
		synctest.Wait()
		if !grants.Synced() || added != 2 {
			t.Errorf("synced: %t, heard of %d", grants.Synced(), added)
		}
		want(0, makeGrant())

		second := makeGrant(func(grant *gatewayv1beta1.ReferenceGrant) { grant.Name = "second" })
		if _, err := client.GatewayV1beta1().ReferenceGrants("far").Create(t.Context(), second, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := client.GatewayV1beta1().ReferenceGrants("far").Delete(t.Context(), "grant", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(0, second)
	})
}

func TestGrantsThatCannotBeWatchedAreReadWhenNeeded(t *testing.T) {
	resource := gatewayv1beta1.Resource("referencegrants")
	tests := map[string]struct {
		err    error
		served bool
		wrong  bool
	}{
		"no such API":   {noSuchAPI(resource, ""), false, false},
		"no right":      {apierrors.NewForbidden(resource, "", errors.New("no right")), false, true},
		"no connection": {errors.New("connection refused"), false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := gatewayfake.NewClientset(makeGrant())
				failing(&client.Fake, "list", "referencegrants", tt.err)
				grants := NewGrantWatch(client, 0)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				grants.Run(ctx)
				got, served, err := grants.List(t.Context(), "far")
				if got != nil || served != tt.served || (err != nil) != tt.wrong || grants.Synced() {
					t.Errorf("got %v, served: %t, %v", got, served, err)
				}
			})
		})
	}
}
