// cart: what each shopper has chosen, kept in Redis.
package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var stopping int32

func log(fields map[string]any) {
	fields["time"] = time.Now().UTC().Format(time.RFC3339Nano)
	fields["service"] = "cart"
	json.NewEncoder(os.Stdout).Encode(fields)
}

// cart answers GET, POST and DELETE /cart/<user>[/<item>].
func cart(redis *Redis, method, path string) (int, any) {
	words := strings.Split(strings.Trim(path, "/"), "/")
	if len(words) < 2 || words[0] != "cart" {
		return 404, map[string]string{"error": "no such page"}
	}
	key := "cart:" + words[1]
	var reply []string
	var err error
	switch {
	case method == "GET" && len(words) == 2:
		reply, err = redis.Do("HGETALL", key)
	case method == "POST" && len(words) == 3:
		if _, err := strconv.Atoi(words[2]); err != nil {
			return 400, map[string]string{"error": "an item is a number"}
		}
		if _, err = redis.Do("HINCRBY", key, words[2], "1"); err == nil {
			_, err = redis.Do("EXPIRE", key, "3600")
		}
		if err == nil {
			reply, err = redis.Do("HGETALL", key)
		}
	case method == "DELETE" && len(words) == 2:
		_, err = redis.Do("DEL", key)
	default:
		return 405, map[string]string{"error": "not so"}
	}
	if err != nil {
		return 503, map[string]string{"error": err.Error()}
	}
	items := map[string]int{}
	for i := 0; i+1 < len(reply); i += 2 {
		items[reply[i]], _ = strconv.Atoi(reply[i+1])
	}
	return 200, map[string]any{"user": words[1], "items": items}
}

func main() {
	address := os.Getenv("REDIS")
	if address == "" {
		address = "redis:6379"
	}
	redis := NewRedis(address)
	handler := func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		status, body := 200, any(map[string]bool{"ok": true})
		if r.URL.Path != "/healthz" {
			status, body = cart(redis, r.Method, r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		if atomic.LoadInt32(&stopping) == 1 {
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(body)
		line := map[string]any{"method": r.Method, "path": r.URL.Path, "status": status, "ms": time.Since(begun).Milliseconds()}
		if trace := r.Header.Get("Traceparent"); trace != "" {
			line["traceparent"] = trace
		}
		log(line)
	}
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 10 * time.Second}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		<-signals
		log(map[string]any{"message": "stopping"})
		atomic.StoreInt32(&stopping, 1)
		// A second for callers to learn of it; then requests under way end and idle connections close.
		time.Sleep(time.Second)
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(limit)
		close(done)
	}()
	log(map[string]any{"message": "listening", "port": 8080})
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log(map[string]any{"message": err.Error()})
		os.Exit(1)
	}
	<-done
}
