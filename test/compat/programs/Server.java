// SPDX-License-Identifier: Apache-2.0
// Java: an NIO echo on port 7000, a plain one with threads on 7001, an asynchronous one on 7002, the JDK's HTTP server
// on 8080, and clients of each kind behind it. Server THERE
import com.sun.net.httpserver.HttpServer;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.CompletionHandler;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;

public class Server {
	static String there;

	// --- servers ---

	static void nio() throws Exception {
		Selector selector = Selector.open();
		ServerSocketChannel listener = ServerSocketChannel.open();
		listener.setOption(StandardSocketOptions.SO_REUSEADDR, true);
		listener.bind(new InetSocketAddress(7000), 200);
		listener.configureBlocking(false);
		listener.register(selector, SelectionKey.OP_ACCEPT);
		while (true) {
			selector.select();
			for (var keys = selector.selectedKeys().iterator(); keys.hasNext(); keys.remove())
				serve(selector, keys.next());
		}
	}

	static void serve(Selector selector, SelectionKey key) throws Exception {
		if (key.isAcceptable()) {
			SocketChannel c = ((ServerSocketChannel) key.channel()).accept();
			if (c == null)
				return;
			c.configureBlocking(false);
			c.setOption(StandardSocketOptions.TCP_NODELAY, true);
			c.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
			return;
		}
		SocketChannel c = (SocketChannel) key.channel();
		ByteBuffer b = (ByteBuffer) key.attachment();
		try {
			int n = b.hasRemaining() ? c.read(b) : 0;
			b.flip();
			c.write(b);
			b.compact();
			if (n < 0 && b.position() == 0) {
				c.close();
				return;
			}
			int reading = n >= 0 && b.hasRemaining() ? SelectionKey.OP_READ : 0;
			key.interestOps(reading | (b.position() > 0 ? SelectionKey.OP_WRITE : 0));
		} catch (java.io.IOException e) {
			c.close();
		}
	}

	static void plain() throws Exception {
		ServerSocket listener = new ServerSocket(7001, 200);
		while (true) {
			Socket s = listener.accept();
			new Thread(() -> {
				try (s) {
					s.getInputStream().transferTo(s.getOutputStream());
				} catch (java.io.IOException e) {
					// the client went away
				}
			}).start();
		}
	}

	static void async() throws Exception {
		var listener = AsynchronousServerSocketChannel.open().bind(new InetSocketAddress(7002), 200);
		listener.accept(null, new CompletionHandler<AsynchronousSocketChannel, Void>() {
			public void completed(AsynchronousSocketChannel c, Void none) {
				listener.accept(null, this);
				new Echo(c).read();
			}

			public void failed(Throwable e, Void none) {
			}
		});
	}

	record Echo(AsynchronousSocketChannel c, ByteBuffer b) implements CompletionHandler<Integer, Boolean> {
		Echo(AsynchronousSocketChannel c) {
			this(c, ByteBuffer.allocate(30000));
		}

		void read() {
			b.clear();
			c.read(b, true, this);
		}

		public void completed(Integer n, Boolean was_read) {
			if (was_read && n < 0) {
				failed(null, was_read);
				return;
			}
			if (was_read)
				b.flip();
			if (b.hasRemaining())
				c.write(b, false, this);
			else
				read();
		}

		public void failed(Throwable e, Boolean was_read) {
			try {
				c.close();
			} catch (java.io.IOException x) {
				// closed already
			}
		}
	}

	// --- clients ---

	static String sum(byte[] data) throws Exception {
		return data.length + " " + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
	}

	static String fetch(String path) throws Exception {
		var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		var request = HttpRequest.newBuilder(URI.create("http://" + there + ":9000" + path)).build();
		return sum(client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body());
	}

	static String url() throws Exception {
		try (InputStream in = URI.create("http://" + there + ":9000/chunked/200000").toURL().openStream()) {
			return sum(in.readAllBytes());
		}
	}

	static String socket() throws Exception {
		try (Socket s = new Socket(there, 9001)) {
			s.setSoTimeout(300);
			s.setTcpNoDelay(true);
			s.setKeepAlive(true);
			s.setSoLinger(true, 5);
			s.setTrafficClass(8);
			String options = s.getTcpNoDelay() + " " + s.getKeepAlive() + " " + s.getSoLinger() + " " + s.getTrafficClass();
			s.getOutputStream().write(new byte[1000]);
			int n = s.getInputStream().readNBytes(1000).length;
			try {
				s.getInputStream().read();
				return "a byte too many";
			} catch (SocketTimeoutException e) {
				s.shutdownOutput();
				return options + " " + n + " " + e.getMessage() + " then " + s.getInputStream().read();
			}
		}
	}

	static String refused() throws Exception {
		try (Socket s = new Socket(there, 9)) {
			return "connected";
		} catch (ConnectException e) {
			return e.getMessage();
		}
	}

	static String late() throws Exception {
		try (Socket s = new Socket()) {
			s.connect(new InetSocketAddress(there, 9002), 300);
			return "connected";
		} catch (java.io.IOException e) {
			return e.toString();
		}
	}

	// A file by transferTo (sendfile), to our own NIO echo and back.
	static String transfer() throws Exception {
		Path file = Files.createTempFile("transfer", "");
		Files.write(file, new byte[300000]);
		try (var in = java.nio.channels.FileChannel.open(file);
		     var c = SocketChannel.open(new InetSocketAddress("127.0.0.1", 7001))) {
			long sent = in.transferTo(0, 300000, c);
			c.shutdownOutput();
			ByteBuffer b = ByteBuffer.allocate(400000);
			while (c.read(b) >= 0)
				continue;
			return sent + " " + b.position();
		}
	}

	static String interrupted() throws Exception {
		try (SocketChannel c = SocketChannel.open(new InetSocketAddress(there, 9001))) {
			String[] result = { "nothing" };
			Thread t = new Thread(() -> {
				try {
					result[0] = "read " + c.read(ByteBuffer.allocate(10));
				} catch (java.io.IOException e) {
					result[0] = e.toString();
				}
			});
			t.start();
			Thread.sleep(200);
			t.interrupt();
			t.join(5000);
			return result[0] + " " + c.isOpen();
		}
	}

	static String closedWhileRead() throws Exception {
		Socket s = new Socket(there, 9001);
		String[] result = { "nothing" };
		Thread t = new Thread(() -> {
			try {
				result[0] = "read " + s.getInputStream().read();
			} catch (java.io.IOException e) {
				result[0] = e.toString();
			}
		});
		t.start();
		Thread.sleep(200);
		s.close();
		t.join(5000);
		return result[0];
	}

	interface Work {
		String run() throws Exception;
	}

	static void route(HttpServer server, String path, Work work) {
		server.createContext(path, (exchange) -> {
			byte[] answer;
			try {
				byte[] body = exchange.getRequestBody().readAllBytes();
				answer = (body.length > 0 ? sum(body) : work.run()).getBytes();
			} catch (Exception e) {
				answer = e.toString().getBytes();
			}
			exchange.sendResponseHeaders(200, answer.length);
			try (OutputStream out = exchange.getResponseBody()) {
				out.write(answer);
			}
		});
	}

	public static void main(String[] arguments) throws Exception {
		there = arguments[0];
		Work[] servers = { () -> { nio(); return ""; }, () -> { plain(); return ""; } };
		for (Work work : servers)
			new Thread(() -> {
				try {
					work.run();
				} catch (Exception e) {
					e.printStackTrace();
					System.exit(3);
				}
			}).start();
		async();
		HttpServer server = HttpServer.create(new InetSocketAddress(8080), 200);
		server.setExecutor(Executors.newFixedThreadPool(8));
		route(server, "/fetch", () -> fetch("/bytes/300000"));
		route(server, "/url", Server::url);
		route(server, "/socket", Server::socket);
		route(server, "/refused", Server::refused);
		route(server, "/late", Server::late);
		route(server, "/transfer", Server::transfer);
		route(server, "/interrupted", Server::interrupted);
		route(server, "/closed", Server::closedWhileRead);
		route(server, "/post", () -> "no body");
		server.start();
	}
}
