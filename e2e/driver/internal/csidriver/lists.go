package csidriver

import (
	"context"
	"strconv"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// ListVolumes implements csipb.ControllerServer.
func (d *Driver) ListVolumes(_ context.Context, r *csipb.ListVolumesRequest) (*csipb.ListVolumesResponse, error) {
	after, err := parseToken(r.GetStartingToken(), r.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	volumes, next := page(d.Store.Volumes(), func(v *state.Volume) int64 { return v.Seq }, after, int(r.GetMaxEntries()))
	answer := &csipb.ListVolumesResponse{NextToken: next}
	published := d.hasRPC(csipb.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES)
	for _, v := range volumes {
		entry := &csipb.ListVolumesResponse_Entry{Volume: d.volume(v), Status: &csipb.ListVolumesResponse_VolumeStatus{}}
		if published {
			entry.Status.PublishedNodeIds = v.Nodes()
		}
		answer.Entries = append(answer.Entries, entry)
	}
	return answer, nil
}

// ListSnapshots implements csipb.ControllerServer. Filters add up.
func (d *Driver) ListSnapshots(_ context.Context, r *csipb.ListSnapshotsRequest) (*csipb.ListSnapshotsResponse, error) {
	after, err := parseToken(r.GetStartingToken(), r.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	var fitting []*state.Snapshot
	for _, s := range d.Store.Snapshots() {
		if (r.GetSnapshotId() == "" || s.ID == r.GetSnapshotId()) && (r.GetSourceVolumeId() == "" || s.SourceVolumeID == r.GetSourceVolumeId()) {
			fitting = append(fitting, s)
		}
	}
	snapshots, next := page(fitting, func(s *state.Snapshot) int64 { return s.Seq }, after, int(r.GetMaxEntries()))
	answer := &csipb.ListSnapshotsResponse{NextToken: next}
	for _, s := range snapshots {
		answer.Entries = append(answer.Entries, &csipb.ListSnapshotsResponse_Entry{Snapshot: snapshot(s)})
	}
	return answer, nil
}

// parseToken is the sequence number after which a page starts. A token names the last item of the page before, so it
// stays good when items come and go between two pages.
func parseToken(token string, maxEntries int32) (int64, error) {
	if maxEntries < 0 {
		return 0, invalid("max_entries: must not be negative")
	}
	if token == "" {
		return 0, nil
	}
	after, err := strconv.ParseInt(token, 10, 64)
	if err != nil || after < 1 {
		return 0, status.Errorf(codes.Aborted, "starting_token %q is not valid", token)
	}
	return after, nil
}

// page cuts the items after a sequence number, at most limit of them (0 for all), and names the next page's token.
func page[T any](items []T, seq func(T) int64, after int64, limit int) (cut []T, next string) {
	for i, item := range items {
		if seq(item) <= after {
			continue
		}
		cut = items[i:]
		break
	}
	if limit > 0 && len(cut) > limit {
		cut = cut[:limit]
		next = strconv.FormatInt(seq(cut[limit-1]), 10)
	}
	return cut, next
}
