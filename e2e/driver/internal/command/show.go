package command

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

func newVolumes() *cobra.Command {
	return newList("volumes", "List the volumes that exist", "/volumes", "NAME ID CAPACITY SEGMENTS SOURCE PUBLISHED CREATED",
		func(v admin.Volume) []string {
			source := "-"
			if v.ContentSource != nil {
				source = v.ContentSource.VolumeID + v.ContentSource.SnapshotID
			}
			segments := make([]string, len(v.Segments))
			for i, s := range v.Segments {
				segments[i] = string(pool.KeyOf(s))
			}
			return []string{v.Name, v.ID, size(v.CapacityBytes), orDash(segments), source, orDash(v.PublishedTo), v.Created.Format(time.RFC3339)}
		})
}

func newSnapshots() *cobra.Command {
	return newList("snapshots", "List the snapshots that exist", "/snapshots", "NAME ID SIZE SOURCE CREATED",
		func(s admin.Snapshot) []string {
			return []string{s.Name, s.ID, size(s.SizeBytes), s.SourceVolumeID, s.Created.Format(time.RFC3339)}
		})
}

func newPools() *cobra.Command {
	return newList("pools", "List the pools and how full they are", "/pools", "SEGMENTS SIZE USED FREE LARGEST-ALLOWED VOLUMES",
		func(p admin.Pool) []string {
			limit := "-"
			if p.MaxVolumeSizeBytes > 0 {
				limit = size(p.MaxVolumeSizeBytes)
			}
			return []string{pool.KeyOf(p.Segments).String(), size(p.SizeBytes), size(p.UsedBytes), size(p.FreeBytes), limit, strconv.Itoa(p.Volumes)}
		})
}

func newCalls() *cobra.Command {
	return newList("calls", "Count the calls by method and code", "/calls", "METHOD CODE COUNT",
		func(c calls.Count) []string { return []string{c.Method, c.Code, strconv.FormatInt(c.Count, 10)} })
}

func newResize() *cobra.Command {
	a := &ask{}
	var body admin.PoolSize
	c := &cobra.Command{Use: "resize-pool", Short: "Change the size of a pool until the driver restarts", RunE: func(c *cobra.Command, _ []string) error {
		raw, err := a.do(c, "PUT", "/pools", []admin.PoolSize{body})
		if err != nil || !a.json {
			return err
		}
		_, err = c.OutOrStdout().Write(raw)
		return err
	}}
	a.flags(c)
	c.Flags().StringToStringVar(&body.Segments, "segments", nil, "the pool, KEY=VALUE[,KEY=VALUE]")
	c.Flags().StringVar(&body.Size, "size", "", "its new size, such as 10Gi")
	return c
}

// table prints aligned columns.
func table(out io.Writer, header []string, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// size prints bytes as Kubernetes does.
func size(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}
