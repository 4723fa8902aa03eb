package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Count is how often one kind of request was made.
type Count struct {
	// UserAgent is cut at its first slash.
	UserAgent string `json:"userAgent"`
	Verb      string `json:"verb"`
	// Resource is written resource.group outside the core group, and is the path for requests outside resources.
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Code        int    `json:"code"`
	Count       int    `json:"count"`
}

// Filter narrows what is counted; its zero value counts everything.
type Filter struct {
	// UserAgent is matched against the whole user agent, not the part Count shows.
	UserAgent *regexp.Regexp
	// Since and Until bound the time at which a request arrived: Since is included, Until is not.
	Since time.Time
	Until time.Time
}

// Counter adds up the requests of any number of logs. Its zero value is ready.
type Counter struct {
	Filter Filter

	counts map[Count]int
}

// event is the part of an audit event that is counted. Parsing only this much is what makes large logs bearable.
type event struct {
	Stage                    string    `json:"stage"`
	Verb                     string    `json:"verb"`
	RequestURI               string    `json:"requestURI"`
	UserAgent                string    `json:"userAgent"`
	RequestReceivedTimestamp time.Time `json:"requestReceivedTimestamp"`
	ObjectRef                *struct {
		Resource    string `json:"resource"`
		APIGroup    string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// Add reads a log to its end. A last line without an end of line is still being written and is left alone.
func (c *Counter) Add(log io.Reader) error {
	reader := bufio.NewReaderSize(log, 1<<20)
	for number := 1; ; number++ {
		line, err := readLine(reader)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read audit log: %w", err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read audit log, line %d: %w", number, err)
		}
		if e.Stage == "ResponseComplete" && c.Filter.accepts(e) {
			if c.counts == nil {
				c.counts = map[Count]int{}
			}
			c.counts[e.kind()]++
		}
	}
}

// readLine returns a line that stays valid until the next call. Lines longer than the buffer are put together.
func readLine(reader *bufio.Reader) ([]byte, error) {
	line, err := reader.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = reader.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}

// Counts returns what was counted, most frequent first and in a fixed order among equals.
func (c *Counter) Counts() []Count {
	counts := make([]Count, 0, len(c.counts))
	for kind, n := range c.counts {
		kind.Count = n
		counts = append(counts, kind)
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(
			cmp.Compare(b.Count, a.Count),
			strings.Compare(a.UserAgent, b.UserAgent),
			strings.Compare(a.Resource, b.Resource),
			strings.Compare(a.Subresource, b.Subresource),
			strings.Compare(a.Verb, b.Verb),
			cmp.Compare(a.Code, b.Code),
		)
	})
	return counts
}

func (f Filter) accepts(e event) bool {
	switch {
	case f.UserAgent != nil && !f.UserAgent.MatchString(e.UserAgent):
		return false
	case !f.Since.IsZero() && e.RequestReceivedTimestamp.Before(f.Since):
		return false
	case !f.Until.IsZero() && !e.RequestReceivedTimestamp.Before(f.Until):
		return false
	}
	return true
}

func (e event) kind() Count {
	kind := Count{Verb: e.Verb}
	kind.UserAgent, _, _ = strings.Cut(e.UserAgent, "/")
	if ref := e.ObjectRef; ref != nil && ref.Resource != "" {
		kind.Resource, kind.Subresource = ref.Resource, ref.Subresource
		if ref.APIGroup != "" {
			kind.Resource += "." + ref.APIGroup
		}
	} else {
		kind.Resource, _, _ = strings.Cut(e.RequestURI, "?")
	}
	if e.ResponseStatus != nil {
		kind.Code = e.ResponseStatus.Code
	}
	return kind
}
