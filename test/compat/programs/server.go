// SPDX-License-Identifier: Apache-2.0

// Go without libc: an HTTP server, an echo, and clients of both behind it. server THERE
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

var there string

func sum(r io.Reader) string {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
}

func get(path string) string {
	r, err := http.Get("http://" + there + ":9000" + path)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	return fmt.Sprint(r.StatusCode, " ", sum(r.Body))
}

func post() string {
	r, err := http.Post("http://"+there+":9000/up", "text/plain", bytes.NewReader(make([]byte, 400000)))
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return string(text)
}

func through() string {
	c, err := net.Dial("tcp", there+":9001")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	go func() {
		c.Write(make([]byte, 700000))
		c.(*net.TCPConn).CloseWrite()
	}()
	return sum(c)
}

// A read's deadline, then a write and a read that work.
func late() string {
	c, err := net.Dial("tcp", there+":9001")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, err = c.Read(make([]byte, 10))
	c.SetReadDeadline(time.Time{})
	c.Write([]byte("hello"))
	b := make([]byte, 10)
	n, second := c.Read(b)
	return fmt.Sprint(errors.Is(err, os.ErrDeadlineExceeded), " ", string(b[:n]), " ", second)
}

func cancelled() string {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	q, _ := http.NewRequestWithContext(ctx, "GET", "http://"+there+":9000/slow/1000", nil)
	r, err := http.DefaultClient.Do(q)
	if err == nil {
		defer r.Body.Close()
		_, err = io.ReadAll(r.Body)
	}
	return fmt.Sprint(errors.Is(err, context.DeadlineExceeded))
}

func refused() string {
	_, err := net.Dial("tcp", there+":9")
	return err.Error()
}

func inUse() string {
	_, err := net.Listen("tcp", ":7000")
	if err == nil {
		return "listening"
	}
	return err.Error()
}

// UDP both ways: an unconnected socket answers a connected one, with datagrams from empty to large.
func datagrams() string {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			l.WriteTo(b[:n], from)
		}
	}()
	c, err := net.Dial("udp", l.LocalAddr().String())
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	said := ""
	for _, n := range []int{1, 0, 1400, 60000} {
		b := make([]byte, 65536)
		c.SetDeadline(time.Now().Add(10 * time.Second))
		c.Write(make([]byte, n))
		m, err := c.Read(b)
		said += fmt.Sprint(n, " ", m, " ", err, "; ")
	}
	return said
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c) // splice, where the kernel lets it
		}()
	}
}

func main() {
	there = os.Args[1]
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go echo(l)
	for path, work := range map[string]func() string{
		"/get": func() string { return get("/bytes/300000") }, "/chunked": func() string { return get("/chunked/70000") },
		"/up": post, "/net": through, "/late": late, "/cancelled": cancelled, "/refused": refused, "/in-use": inUse,
		"/datagrams": datagrams,
	} {
		http.HandleFunc(path, func(f func() string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, f()) }
		}(work))
	}
	http.HandleFunc("/post", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, sum(r.Body)) })
	http.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir("/var/www/html"))))
	fmt.Println(http.ListenAndServe(":8080", nil))
}
