package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

type failure struct {
	Error string `json:"error"`
}

// Serve answers requests on the socket at path until ctx ends, and has no goroutine left when it returns.
func Serve(ctx context.Context, path string, plane Plane) error {
	listener, err := listen(path)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler(plane),
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		// Whoever asked for the end is still waiting for an answer.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
		err = <-served
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", path, err)
}

func handler(plane Plane) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, plane.Status())
	})
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, _ *http.Request) {
		plane.Down()
		answer(w, http.StatusOK, struct{}{})
	})
	mux.HandleFunc("POST /kill", act(plane.Kill))
	mux.HandleFunc("POST /start", act(plane.Start))
	mux.HandleFunc("POST /restart", act(plane.Restart))
	mux.HandleFunc("POST /limits", act(plane.SetLimits))
	return mux
}

func act[Request any](do func(context.Context, Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request Request
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			answer(w, http.StatusBadRequest, failure{Error: fmt.Sprintf("decode request: %v", err)})
			return
		}
		if err := do(r.Context(), request); err != nil {
			answer(w, http.StatusConflict, failure{Error: err.Error()})
			return
		}
		answer(w, http.StatusOK, struct{}{})
	}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // nobody is left to tell
}
