// Package calls keeps the record of all calls: a JSON line each in a file, and counts in memory. Lines are rendered by
// the goroutine of their call and gathered in a buffer that is written every flushInterval, so that calls do not wait
// for the file or for one another.
package calls

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// Call is one call that has ended.
type Call struct {
	Method   string
	Request  proto.Message
	Response proto.Message // nil if none was made; what was made, even if the caller never got it
	Code     codes.Code    // what the caller got
	Error    string
	Started  time.Time
	Ended    time.Time
	Fault    string
}

// Count is how often a method ended with a code.
type Count struct {
	Method string `json:"method"`
	Code   string `json:"code"`
	Count  int64  `json:"count"`
}

// line is a call as it is written.
type line struct {
	Seq      int64           `json:"seq"`
	Time     time.Time       `json:"time"`
	PID      int             `json:"pid"`
	Method   string          `json:"method"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
	Code     string          `json:"code"`
	Error    string          `json:"error"`
	Seconds  float64         `json:"seconds"`
	Fault    string          `json:"fault"`
}

const flushInterval = 100 * time.Millisecond

// Log is safe for concurrent use. Open starts it, Close ends it.
type Log struct {
	pid  int
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	counts map[countKey]int64
	seq    int64
	file   *os.File // nil counts only
	out    *bufio.Writer
	failed error // the first error of writing; later ones follow from it
}

type countKey struct {
	method string
	code   codes.Code
}

// Open starts a log that appends to a file, or only counts if path is empty.
func Open(path string) (*Log, error) {
	l := &Log{pid: os.Getpid(), counts: map[countKey]int64{}, stop: make(chan struct{}), done: make(chan struct{})}
	if path == "" {
		close(l.done)
		return l, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open call log: %w", err)
	}
	l.file, l.out = file, bufio.NewWriterSize(file, 1<<20)
	go l.flushNowAndThen()
	return l, nil
}

func (l *Log) flushNowAndThen() {
	defer close(l.done)
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = l.Flush() // remembered, and told by Close
		case <-l.stop:
			return
		}
	}
}

// Add records a call. Its messages must not change any more.
func (l *Log) Add(c Call) {
	var entry line
	if l.out != nil {
		entry = line{
			Time: c.Ended, PID: l.pid, Method: c.Method, Request: render(c.Request), Response: render(c.Response),
			Code: c.Code.String(), Error: c.Error, Seconds: c.Ended.Sub(c.Started).Seconds(), Fault: c.Fault,
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[countKey{c.Method, c.Code}]++
	l.seq++
	if l.out == nil || l.failed != nil {
		return
	}
	entry.Seq = l.seq
	l.failed = l.write(entry)
}

// write is under the lock because seq has to rise from line to line. Messages are rendered already; this only frames them.
func (l *Log) write(entry line) error {
	raw, err := entry.appendTo(l.out.AvailableBuffer())
	if err != nil {
		return err
	}
	_, err = l.out.Write(raw)
	return err
}

// Flush writes what is gathered.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil && l.failed == nil {
		l.failed = l.out.Flush()
	}
	return l.failed
}

// Counts lists how often each method ended with each code.
func (l *Log) Counts() []Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Count, 0, len(l.counts))
	for k, n := range l.counts {
		list = append(list, Count{Method: k.method, Code: k.code.String(), Count: n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.Code, b.Code))
	})
	return list
}

// Close writes the rest and closes the file. It returns the first error of writing there was.
func (l *Log) Close() error {
	if l.out == nil {
		return nil
	}
	close(l.stop)
	<-l.done
	err := l.Flush()
	if closed := l.file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write call log: %w", err)
	}
	return nil
}
