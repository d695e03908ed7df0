// Owns waiting for a kernel's socket. It opens none.

import type { Kernel } from "@jupyterlab/services/lib/kernel";
import { ServerError, type Problem } from "../server_error";

const CONNECT_TIMEOUT_MS = 20_000;

/** The next time that the socket opens, or the reason why it does not. */
export function nextConnection(connection: Kernel.IKernelConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      connection.connectionStatusChanged.disconnect(listen);
      act();
    };
    const fail = (): void => settle(() => reject(new ServerError(NO_CONNECTION)));
    const listen = (_: unknown, status: Kernel.ConnectionStatus): void => {
      if (status === "connected") settle(resolve);
      if (status === "disconnected") fail();
    };
    const timer = setTimeout(fail, CONNECT_TIMEOUT_MS);
    connection.connectionStatusChanged.connect(listen);
  });
}

const NO_CONNECTION: Problem = {
  code: "no-connection",
  message: "A kernel was started, but the page could not connect to it.",
  hint: "A proxy between you and the book must let WebSockets through.",
  status: 0,
};
