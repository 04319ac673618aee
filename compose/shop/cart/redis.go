package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Redis speaks as much of the Redis protocol (RESP2) as a cart needs, over a few kept connections.
type Redis struct {
	address string
	kept    chan *session
}

type session struct {
	net.Conn
	reader *bufio.Reader
}

func NewRedis(address string) *Redis {
	return &Redis{address: address, kept: make(chan *session, 16)}
}

// Do sends one command. A kept connection that turns out to be dead before an answer is replaced once.
func (r *Redis) Do(words ...string) ([]string, error) {
	select {
	case s := <-r.kept:
		if answer, err := r.use(s, words); !errors.Is(err, io.EOF) {
			return answer, err
		}
	default:
	}
	conn, err := net.DialTimeout("tcp", r.address, 3*time.Second)
	if err != nil {
		return nil, err
	}
	return r.use(&session{conn, bufio.NewReader(conn)}, words)
}

func (r *Redis) use(s *session, words []string) ([]string, error) {
	s.SetDeadline(time.Now().Add(3 * time.Second))
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	_, err := io.WriteString(s, command.String())
	var answer []string
	if err == nil {
		answer, err = s.read()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	select {
	case r.kept <- s:
	default:
		s.Close()
	}
	return answer, nil
}

func (s *session) read() ([]string, error) {
	line, err := s.reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("redis: empty reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return []string{rest}, nil
	case '-':
		return nil, errors.New("redis: " + rest)
	}
	length, err := strconv.Atoi(rest)
	if err != nil || length > 1<<20 {
		return nil, errors.New("redis: reply not understood: " + line)
	}
	if kind == '*' {
		var all []string
		for ; length > 0; length-- {
			part, err := s.read()
			if err != nil {
				return nil, err
			}
			all = append(all, part...)
		}
		return all, nil
	}
	if length < 0 {
		return nil, nil
	}
	bytes := make([]byte, length+2)
	_, err = io.ReadFull(s.reader, bytes)
	return []string{string(bytes[:length])}, err
}
