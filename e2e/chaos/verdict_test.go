package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// boundClaim is a claim as it should be, deletedClaim one as it should be after its deletion.
func boundClaim(name string) claimFact {
	return claimFact{Name: name, UID: uid(name), Exists: true, Phase: phaseBound, Volume: namePrefix + string(uid(name))}
}

func deletedClaim(name string) claimFact { return claimFact{Name: name, UID: uid(name), Deleted: true} }

func uid(claim string) types.UID { return types.UID("uid-of-" + claim) }

func pvOf(claim, handle string) pvFact {
	return pvFact{Name: namePrefix + string(uid(claim)), Handle: handle, Claim: uid(claim)}
}

func volumeOf(claim, handle string) volumeFact {
	return volumeFact{Handle: handle, Name: namePrefix + string(uid(claim))}
}

func TestJudge(t *testing.T) {
	pending := boundClaim("b")
	pending.Phase, pending.Volume = "Pending", ""
	gone := boundClaim("b")
	gone.Exists, gone.Phase, gone.Volume = false, "", ""
	toOther := boundClaim("b")
	toOther.Volume = pvOf("a", "").Name
	lingering := boundClaim("b")
	lingering.Deleted = true
	second := pvFact{Name: "another", Handle: "h3", Claim: uid("b")}

	tests := map[string]struct {
		change func(*picture)
		want   verdict
	}{
		"a volume and a PV for each claim that is left is all there should be": {change: func(*picture) {}},
		"a volume without PV is leaked": {
			change: func(p *picture) { p.Volumes = append(p.Volumes, volumeOf("c", "h3")) },
			want:   verdict{Leaked: []volumeFact{volumeOf("c", "h3")}},
		},
		"a volume of a claim that nobody created is leaked": {
			change: func(p *picture) { p.Volumes = append(p.Volumes, volumeFact{Handle: "h3", Name: "who"}) },
			want:   verdict{Leaked: []volumeFact{{Handle: "h3", Name: "who"}}},
		},
		"a second volume of a claim is leaked and doubles it": {
			change: func(p *picture) { p.Volumes = append(p.Volumes, volumeOf("b", "h3")) },
			want:   verdict{Leaked: []volumeFact{volumeOf("b", "h3")}, Doubled: []claimFact{boundClaim("b")}},
		},
		"a second volume by another name is found by its PV": {
			change: func(p *picture) {
				p.Volumes = append(p.Volumes, volumeFact{Handle: "h3", Name: "another"})
				p.PVs = append(p.PVs, second)
			},
			want: verdict{Doubled: []claimFact{boundClaim("b")}},
		},
		"a PV whose volume the driver does not have": {
			change: func(p *picture) { p.Volumes = p.Volumes[:1] },
			want:   verdict{PVWithoutVolume: []pvFact{pvOf("b", "h2")}},
		},
		"a claim that pends": {
			change: func(p *picture) { p.Claims[1], p.PVs, p.Volumes = pending, p.PVs[:1], p.Volumes[:1] },
			want:   verdict{Unbound: []claimFact{pending}},
		},
		"a claim that was not deleted and is not there is not bound": {
			change: func(p *picture) { p.Claims[1], p.PVs, p.Volumes = gone, p.PVs[:1], p.Volumes[:1] },
			want:   verdict{Unbound: []claimFact{gone}},
		},
		"a claim that names the PV of another is not bound": {
			change: func(p *picture) { p.Claims[1] = toOther },
			want:   verdict{Unbound: []claimFact{toOther}},
		},
		"a claim that was deleted and is still there, with its PV": {
			change: func(p *picture) { p.Claims[1] = lingering },
			want:   verdict{Lingering: []claimFact{lingering}, Orphaned: []pvFact{pvOf("b", "h2")}},
		},
		"the PV of a deleted claim, with its volume, is no leak but should be gone": {
			change: func(p *picture) {
				p.PVs, p.Volumes = append(p.PVs, pvOf("c", "h3")), append(p.Volumes, volumeOf("c", "h3"))
			},
			want: verdict{Orphaned: []pvFact{pvOf("c", "h3")}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := picture{
				Claims:  []claimFact{boundClaim("a"), boundClaim("b"), deletedClaim("c")},
				PVs:     []pvFact{pvOf("a", "h1"), pvOf("b", "h2")},
				Volumes: []volumeFact{volumeOf("a", "h1"), volumeOf("b", "h2")},
			}
			tc.change(&p)
			got := judge(p)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := cmp.Equal(tc.want, verdict{}); got.exact() != want {
				t.Errorf("exact is %t, want %t", got.exact(), want)
			}
			if troubles := got.troubles(); (len(troubles) == 0) != got.exact() {
				t.Errorf("troubles are %v", troubles)
			}
		})
	}
}

func TestPicturesThatDifferInAPhaseAreNotTheSame(t *testing.T) {
	before := picture{Claims: []claimFact{boundClaim("a")}}
	after := picture{Claims: slices.Clone(before.Claims)}
	if !samePicture(before, after) {
		t.Error("a copy is another picture")
	}
	after.Claims[0].Phase = "Lost"
	if samePicture(before, after) {
		t.Error("a claim that got lost is the same picture")
	}
}
