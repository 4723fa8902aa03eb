package supervisor

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

// Ready is the content of the ready file.
type Ready struct {
	// PID is the supervisor's.
	PID     int    `json:"pid"`
	Server  string `json:"server"`
	Version string `json:"version"`
	// ReadySeconds is how long `up` took.
	ReadySeconds float64                           `json:"readySeconds"`
	Components   map[component.Name]ReadyComponent `json:"components"`
}

// ReadyComponent is what the ready file says about a component.
type ReadyComponent struct {
	// PID follows restarts; 0 while the component is down.
	PID int    `json:"pid"`
	Log string `json:"log"`
	// Address is where the component listens.
	Address string `json:"address"`
}

func writeReady(path string, ready Ready) error {
	content, err := json.Marshal(ready)
	if err != nil {
		return fmt.Errorf("encode ready file: %w", err)
	}
	return directory.Write(path, append(content, '\n'), 0o600)
}

// RemoveLeftovers deletes what a supervisor that was killed could not. Only for who owns the directory.
func RemoveLeftovers(dir directory.Dir) error {
	for _, path := range []string{dir.Ready(), dir.Socket()} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove what an earlier run has left: %w", err)
		}
	}
	return nil
}
