package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// Volume is an entry of GET /volumes. Lists and maps are never null.
type Volume struct {
	ID                string              `json:"id"`
	Name              string              `json:"name"`
	CapacityBytes     int64               `json:"capacityBytes"`
	Segments          []map[string]string `json:"segments"`
	ContentSource     *Source             `json:"contentSource"` // null for an empty volume
	Parameters        map[string]string   `json:"parameters"`
	MutableParameters map[string]string   `json:"mutableParameters"`
	PublishedTo       []string            `json:"publishedTo"`
	Created           time.Time           `json:"created"`
}

// Source is what a volume was made from: one of the two.
type Source struct {
	VolumeID   string `json:"volumeId,omitempty"`
	SnapshotID string `json:"snapshotId,omitempty"`
}

// Snapshot is an entry of GET /snapshots.
type Snapshot struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	SourceVolumeID string            `json:"sourceVolumeId"`
	SizeBytes      int64             `json:"sizeBytes"`
	Parameters     map[string]string `json:"parameters"`
	Created        time.Time         `json:"created"`
}

// Pool is an entry of GET /pools.
type Pool struct {
	Segments           map[string]string `json:"segments"`
	SizeBytes          int64             `json:"sizeBytes"`
	UsedBytes          int64             `json:"usedBytes"`
	FreeBytes          int64             `json:"freeBytes"`
	MaxVolumeSizeBytes int64             `json:"maxVolumeSizeBytes"` // 0 for no limit
	Volumes            int               `json:"volumes"`
}

// PoolSize is an entry of PUT /pools.
type PoolSize struct {
	Segments map[string]string `json:"segments"`
	Size     string            `json:"size"`
}

func volumes(list []*state.Volume) []Volume {
	result := make([]Volume, len(list))
	for i, v := range list {
		result[i] = Volume{
			ID: v.ID, Name: v.Name, CapacityBytes: v.Bytes, Segments: []map[string]string{},
			Parameters: filled(v.Parameters), MutableParameters: filled(v.MutableParameters),
			PublishedTo: append([]string{}, v.Nodes()...), Created: v.Created,
		}
		if len(v.Segments) > 0 {
			result[i].Segments = append(result[i].Segments, v.Segments)
		}
		if v.Source != (state.Source{}) {
			s := Source(v.Source)
			result[i].ContentSource = &s
		}
	}
	return result
}

func snapshots(list []*state.Snapshot) []Snapshot {
	result := make([]Snapshot, len(list))
	for i, s := range list {
		result[i] = Snapshot{
			ID: s.ID, Name: s.Name, SourceVolumeID: s.SourceVolumeID, SizeBytes: s.Bytes,
			Parameters: filled(s.Parameters), Created: s.Created,
		}
	}
	return result
}

func pools(list []pool.Status) []Pool {
	result := make([]Pool, len(list))
	for i, p := range list {
		result[i] = Pool{
			Segments: filled(p.Segments), SizeBytes: p.Size, UsedBytes: p.Used, FreeBytes: p.Free(),
			MaxVolumeSizeBytes: p.MaxVolumeSize, Volumes: p.Volumes,
		}
	}
	return result
}

func filled(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// strictJSON decodes one value and nothing else, without fields that are not known.
func strictJSON(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON value")
	}
	return nil
}
