// Package admin is the driver's other door: HTTP over a unix socket, to see what the driver holds and to script its
// faults. Server answers, Client asks; the JSON types both use are here, and are what the README documents.
package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/fault"
	"github.com/berth-csi/berth/e2e/driver/internal/pool"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// Sources is where the answers come from.
type Sources struct {
	Store  *state.Store // nil: a node plugin, which knows of no volumes and pools
	Faults *fault.List
	Calls  *calls.Log
}

// maxBody bounds a request's body. It has room for the sizes of some 30,000 pools.
const maxBody = 4 << 20

// NewServer makes a server that still has to be given a listener.
func NewServer(s Sources) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	if s.Store != nil {
		s.handleStock(mux)
	}
	mux.HandleFunc("GET /calls", s.getCalls)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Faults.Usage()) })
	mux.HandleFunc("PUT /faults", s.faults(s.Faults.Replace))
	mux.HandleFunc("POST /faults", s.faults(s.Faults.Add))
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		_ = s.Faults.Replace(nil) // nothing to reject
		answer(w, s.Faults.Usage())
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// handleStock adds what there is to know of volumes and pools.
func (s Sources) handleStock(mux *http.ServeMux) {
	mux.HandleFunc("GET /volumes", func(w http.ResponseWriter, _ *http.Request) { answer(w, volumes(s.Store.Volumes())) })
	mux.HandleFunc("GET /snapshots", func(w http.ResponseWriter, _ *http.Request) { answer(w, snapshots(s.Store.Snapshots())) })
	mux.HandleFunc("GET /pools", func(w http.ResponseWriter, _ *http.Request) { answer(w, pools(s.Store.Pools())) })
	mux.HandleFunc("PUT /pools", s.putPools)
}

// getCalls also brings the call log up to date, so that whoever asks here can read the file next.
func (s Sources) getCalls(w http.ResponseWriter, _ *http.Request) {
	if err := s.Calls.Flush(); err != nil {
		reject(w, http.StatusInternalServerError, err)
		return
	}
	answer(w, s.Calls.Counts())
}

func (s Sources) faults(set func([]fault.Fault) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, ok := body(w, r)
		if !ok {
			return
		}
		list, err := fault.Decode(raw)
		if err == nil {
			err = set(list)
		}
		if err != nil {
			reject(w, http.StatusBadRequest, err)
			return
		}
		answer(w, s.Faults.Usage())
	}
}

func (s Sources) putPools(w http.ResponseWriter, r *http.Request) {
	raw, ok := body(w, r)
	if !ok {
		return
	}
	sizes, err := parsePoolSizes(raw)
	if err != nil {
		reject(w, http.StatusBadRequest, err)
		return
	}
	if no := s.Store.Resize(sizes); no != nil {
		reject(w, http.StatusNotFound, errors.New(no.Why))
		return
	}
	answer(w, pools(s.Store.Pools()))
}

// parsePoolSizes reads the body of PUT /pools.
func parsePoolSizes(raw []byte) (map[pool.Key]int64, error) {
	var list []PoolSize
	if err := strictJSON(raw, &list); err != nil {
		return nil, err
	}
	sizes := make(map[pool.Key]int64, len(list))
	for i, p := range list {
		size, err := config.ParseSize(p.Size)
		if err != nil {
			return nil, fmt.Errorf("pool %d: size: %w", i, err)
		}
		key := pool.KeyOf(p.Segments)
		if _, twice := sizes[key]; twice {
			return nil, fmt.Errorf("pool %d: %s is there twice", i, key)
		}
		sizes[key] = size
	}
	return sizes, nil
}

func body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		reject(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxBody))
	case err != nil:
		reject(w, http.StatusBadRequest, err)
	}
	return raw, err == nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone; there is nobody to tell
}

// problem is the body of every answer that is not 200.
type problem struct {
	Error string `json:"error"`
}

func reject(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(problem{Error: err.Error()})
}
