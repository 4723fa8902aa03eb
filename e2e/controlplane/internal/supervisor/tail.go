package supervisor

import (
	"io"
	"os"
	"strings"
)

const (
	tailLines = 15
	// tailBytes bounds what is read; log lines with whole objects in them are long.
	tailBytes = 16 << 10
	lineRunes = 400
)

// tail returns the last lines of a file, indented, or nothing if it cannot be read.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	content, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-tailBytes), tailBytes))
	if err != nil {
		return ""
	}
	return lastLines(string(content))
}

func lastLines(content string) string {
	lines := strings.Split(strings.TrimRight(content, "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		if runes := []rune(line); len(runes) > lineRunes {
			line = string(runes[:lineRunes]) + "..."
		}
		lines[i] = "    " + line
	}
	return strings.Join(lines, "\n")
}
