package com.example.shop;

import java.io.IOException;
import java.security.GeneralSecurityException;
import java.util.Scanner;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** Makes one call for each line on stdin, with the line as the body, if there is one. */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws InterruptedException {
        try (var spring = new AnnotationConfigApplicationContext(WeChat.class); var lines = new Scanner(System.in)) {
            var weChat = spring.getBean(WeChat.class);
            while (lines.hasNextLine()) {
                System.out.println(weChat.call("/cgi-bin/getcallbackip", lines.nextLine()));
            }
        } catch (IOException | GeneralSecurityException e) {
            System.err.println(e);
            System.exit(1);
        }
    }
}
