package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// RequestCount says how often a client asked the API server for the same thing.
type RequestCount struct {
	// UserAgent is cut at its first slash.
	UserAgent string `json:"userAgent"`
	Verb      string `json:"verb"`
	// Resource is written resource.group outside the core group.
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Code        int    `json:"code"`
	Count       int    `json:"count"`
}

// RequestFilter chooses requests. The zero value is all of them.
type RequestFilter struct {
	// UserAgent is a regular expression, for the whole of the user agent.
	UserAgent string
	// Since and Until bound the time at which a request arrived.
	Since, Until time.Time
}

// Requests counts the requests in the audit log.
func (c *ControlPlane) Requests(ctx context.Context, filter RequestFilter) ([]RequestCount, error) {
	args := []string{"--json"}
	if filter.UserAgent != "" {
		args = append(args, "--user-agent", filter.UserAgent)
	}
	if !filter.Since.IsZero() {
		args = append(args, "--since", filter.Since.UTC().Format(time.RFC3339Nano))
	}
	if !filter.Until.IsZero() {
		args = append(args, "--until", filter.Until.UTC().Format(time.RFC3339Nano))
	}
	var counts []RequestCount
	if err := c.ask(ctx, &counts, "requests", args...); err != nil {
		return nil, err
	}
	return counts, nil
}

// AuditEvent is one request in the audit log, as far as the tests ask.
type AuditEvent struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	UserAgent string `json:"userAgent"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	// Annotations are what admission left, each webhook's under its name.
	Annotations map[string]string `json:"annotations"`
}

// Audit returns the requests for which keep says yes, in the order in which they ended.
func (c *ControlPlane) Audit(keep func(*AuditEvent) bool) ([]AuditEvent, error) {
	// Logs that were rotated away have a time in their name and sort before the present one.
	files, err := filepath.Glob(filepath.Join(c.Dir, "audit*.log"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there is none in %s", c.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	var events []AuditEvent
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		for line := range bytes.Lines(data) {
			var event AuditEvent
			if err := json.Unmarshal(line, &event); err != nil {
				continue // the line that is being written
			}
			if keep(&event) {
				events = append(events, event)
			}
		}
	}
	return events, nil
}
