package certs

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What happens to a running cluster, none of which anybody notices: certificates verify all the time.
func TestAccidentsGoUnnoticed(t *testing.T) {
	update := func(c *cluster, change func(*corev1.Secret)) {
		secret := c.secret()
		change(secret)
		if _, err := c.CoreV1().Secrets(namespace).Update(c.t.Context(), secret, metav1.UpdateOptions{}); err != nil {
			c.t.Fatal(err)
		}
	}
	accidents := map[string]func(c *cluster){
		"the Secret is deleted": func(c *cluster) {
			if err := c.CoreV1().Secrets(namespace).Delete(c.t.Context(), secretName, metav1.DeleteOptions{}); err != nil {
				c.t.Fatal(err)
			}
		},
		"the Secret is emptied": func(c *cluster) { update(c, func(s *corev1.Secret) { s.Data = nil }) },
		"the Secret is garbage": func(c *cluster) {
			update(c, func(s *corev1.Secret) {
				for key := range s.Data {
					s.Data[key] = []byte("garbage")
				}
			})
		},
		"the key is lost": func(c *cluster) { update(c, func(s *corev1.Secret) { delete(s.Data, keyCurrentKey) }) },
		"a write of the Secret conflicts": func(c *cluster) {
			c.refuse("update secrets", apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, secretName, errors.New("changed")))
			time.AfterFunc(6*time.Hour+10*time.Minute, func() { c.refuse("update secrets", nil) })
		},
		"the API server is away": func(c *cluster) {
			for _, request := range []string{"get secrets", "update secrets", "patch mutatingwebhookconfigurations"} {
				c.refuse(request, errors.New("no route"))
				time.AfterFunc(8*time.Hour, func() { c.refuse(request, nil) })
			}
		},
	}
	for name, accident := range accidents {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.install()
				replicas := []*replica{c.start(nil), c.start(nil)}
				replicas[0].lead()
				after(time.Hour)
				first := c.state().Current
				accident(c)
				for range 10 * 30 {
					after(2 * time.Minute)
					for n, r := range replicas {
						if err := c.verify(r); err != nil {
							t.Fatalf("replica %d: %v", n, err)
						}
					}
				}
				if state := c.state(); state.Phase() != PhaseStable || state.trusts(first.Certificate) {
					t.Errorf("it did not go on: %s", describeState(state))
				}
			})
		})
	}
}

// What a process may find when it starts, and for how long nobody can call it then.
func TestWhatIsFoundIsMended(t *testing.T) {
	expired, alsoExpired := makeAuthority(t, "expired", -40*365*day, -39*365*day), makeAuthority(t, "also expired", -40*365*day, -39*365*day)
	tests := map[string]State{
		"authorities that expired in a long sleep": {Current: expired},
		"both of them":                 {Current: expired, Next: alsoExpired},
		"an authority from the future": {Current: makeAuthority(t, "future", 0, 365*day)},
		"an empty Secret":              {},
	}
	for name, found := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it is the year 2000
				c := newCluster(t)
				c.install()
				c.keep(found)
				replicas := []*replica{c.start(nil), c.start(nil)}
				replicas[0].lead()
				after(time.Second)
				for n, r := range replicas {
					if err := c.verify(r); err != nil {
						t.Errorf("replica %d: %v", n, err)
					}
				}
				after(2 * time.Hour)
				if state := c.state(); state.Phase() != PhaseStable {
					t.Error(describeState(state))
				}
			})
		})
	}
}

// A machine sleeps for longer than everything lives, and its timers do not know.
func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		slept := time.Duration(0)
		r := c.start(func(config *SelfManagedConfig) { config.Now = func() time.Time { return time.Now().Add(slept) } })
		r.lead()
		after(time.Hour)
		slept = 5000 * time.Hour
		if c.verify(r) == nil {
			t.Fatal("the certificate outlived the sleep")
		}
		after(time.Minute + time.Second)
		if err := c.verify(r); err != nil {
			t.Error(err)
		}
	})
}

// A leader whose clock is wrong replaces authorities that it takes for invalid. The others must not suffer from it.
func TestALeaderWithAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		right := c.start(nil)
		stop := right.lead()
		after(time.Hour)
		stop()
		first := c.state().Current.Certificate
		// It is late by two hours, and leads: the authority that it finds is not valid yet, as it sees it.
		late := c.start(func(config *SelfManagedConfig) {
			config.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
		})
		late.lead()
		for range 60 {
			after(time.Minute)
			if err := c.verify(right); err != nil {
				t.Fatalf("the other replica is disturbed: %v", err)
			}
		}
		if !c.state().trusts(first) {
			t.Error("the authority of a replica with a right clock is not trusted any more")
		}
	})
}
