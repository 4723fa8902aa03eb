package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Widths of the columns: what a step is about, and what was seen.
const (
	subjectWidth = 14
	seenWidth    = 58
)

// redraw is how often the line of a step that still runs is drawn again on a terminal.
const redraw = 100 * time.Millisecond

// screen writes a line a step: whether it worked, what was seen, and how long it took. On a terminal the line of the
// running step counts the time, and there is colour unless NO_COLOR is set.
type screen struct {
	out    io.Writer
	live   bool
	colour bool
}

func newScreen(out *os.File) *screen {
	live := term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"
	return &screen{out: out, live: live, colour: live && os.Getenv("NO_COLOR") == ""}
}

// The styles, as the parameter of the terminal's SGR sequence.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (s *screen) style(style, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// heading begins a chapter.
func (s *screen) heading(text string) {
	fmt.Fprintf(s.out, "\n%s\n", s.style(bold, text))
}

// say writes a paragraph.
func (s *screen) say(text string) {
	fmt.Fprintf(s.out, "\n%s\n", text)
}

// failure writes what went wrong.
func (s *screen) failure(err error) {
	fmt.Fprintf(s.out, "\n%s %v\n", s.style(red, "✗"), err)
}

// step does something and writes its line. What do returns is what was seen.
func (s *screen) step(ctx context.Context, subject string, do func(context.Context) (seen string, err error)) error {
	return s.stepSince(ctx, time.Now(), subject, do)
}

// stepSince is step for something that began earlier.
func (s *screen) stepSince(ctx context.Context, start time.Time, subject string, do func(context.Context) (seen string, err error)) error {
	stop := s.count(start, subject)
	seen, err := do(ctx)
	took := time.Since(start)
	stop()
	if err != nil {
		fmt.Fprintf(s.out, "  %s %s\n", s.style(red, "✗"), s.style(bold, subject))
		return fmt.Errorf("%s: %w", subject, err)
	}
	fmt.Fprintf(s.out, "  %s %s  %s  %s\n",
		s.style(green, "✓"), s.style(bold, pad(subject, subjectWidth)), pad(seen, seenWidth), s.style(faint, duration(took)))
	return nil
}

// count shows on a terminal how long a step has been running, until the function it returns is called.
func (s *screen) count(start time.Time, subject string) (stop func()) {
	if !s.live {
		return func() {}
	}
	done := make(chan struct{})
	var counting sync.WaitGroup
	counting.Go(func() {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			fmt.Fprintf(s.out, "\r  %s %s  %s\x1b[K",
				s.style(faint, "…"), pad(subject, subjectWidth), s.style(faint, duration(time.Since(start))))
			select {
			case <-tick.C:
			case <-done:
				fmt.Fprint(s.out, "\r\x1b[K")
				return
			}
		}
	})
	return func() {
		close(done)
		counting.Wait()
	}
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// duration in eight characters, with the precision one can feel.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "  < 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%5d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%6.2f s", d.Seconds())
	default:
		return fmt.Sprintf("%6.0f s", d.Seconds())
	}
}
