package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// journal is the append-only file of records, a JSON line each. Its user serialises the calls.
type journal struct {
	path  string
	file  *os.File
	size  int64 // of the good part of the file
	lines int
}

// openJournal replays a file, which need not exist, and leaves it open for appending. A last line that is torn (the
// process died while writing it, so nobody was told about it) is cut off; a bad line anywhere else is an error.
func openJournal(path string, replay func(record) error) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, file: file}
	if err := j.replay(replay); err != nil {
		file.Close()
		return nil, err
	}
	if err := file.Truncate(j.size); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Seek(j.size, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return j, nil
}

func (j *journal) replay(apply func(record) error) error {
	in := bufio.NewReaderSize(j.file, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // what is left over has no end of line: torn, or nothing
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", j.path, err)
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			if _, err := in.Peek(1); errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("%s line %d: %w", j.path, j.lines+1, err)
		}
		if err := apply(r); err != nil {
			return fmt.Errorf("%s line %d: %w", j.path, j.lines+1, err)
		}
		j.lines++
		j.size += int64(len(line))
	}
}

// encode is the line of a record. It is apart from append so that it can happen outside the store's lock.
func encode(r record) ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return append(line, '\n'), nil
}

// append hands a line to the kernel. If that fails, half a line does not stay behind.
func (j *journal) append(line []byte) error {
	n, err := j.file.Write(line)
	if err != nil {
		err = fmt.Errorf("write %s: %w", j.path, err)
		if n > 0 {
			if cut := j.file.Truncate(j.size); cut != nil {
				return errors.Join(err, cut)
			}
			if _, seek := j.file.Seek(j.size, io.SeekStart); seek != nil {
				return errors.Join(err, seek)
			}
		}
		return err
	}
	j.size += int64(n)
	j.lines++
	return nil
}

// rewrite replaces the file by one with just these records. Whoever dies in between leaves the old file in place.
func (j *journal) rewrite(records []record) error {
	var all bytes.Buffer
	for _, r := range records {
		line, err := encode(r)
		if err != nil {
			return err
		}
		all.Write(line)
	}
	next, err := os.OpenFile(j.path+".next", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := next.Write(all.Bytes()); err != nil {
		next.Close()
		return err
	}
	if err := os.Rename(j.path+".next", j.path); err != nil {
		next.Close()
		return err
	}
	j.file.Close()
	j.file, j.size, j.lines = next, int64(all.Len()), len(records)
	return nil
}

func (j *journal) close() error { return j.file.Close() }
